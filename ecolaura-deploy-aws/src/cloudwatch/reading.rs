//! What the answers amount to: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_cloudwatch::types::{MetricDataResult, StatusCode};
use aws_smithy_types::DateTime;
use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    backend::{Measure, Sample},
};
use jiff::Timestamp;

use super::layout::{OBSERVED, PART, REFUSED, REQUESTS};

/// From when to when is asked, and for how long each point is, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) period: i32,
}

impl Span {
    /// `CloudWatch` keeps points at whole periods: a question between them would count parts of points, or none. The
    /// newest periods, which are still filling, are left out.
    pub(super) fn of(now: Timestamp, window: Duration, period: i32, lag: Duration) -> Self {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let long = i64::from(period);
        let end = now.as_second().saturating_sub(seconds(lag)).div_euclid(long) * long;
        let periods = seconds(window).max(1).saturating_add(long - 1) / long;
        Self { start: end.saturating_sub(periods.saturating_mul(long)), end, period }
    }

    /// The same time as one point.
    pub(super) fn in_one(self) -> Self {
        let period = i32::try_from(self.end.saturating_sub(self.start)).unwrap_or(i32::MAX);
        Self { period, ..self }
    }
}

/// The points of each query, over all pages.
#[derive(Debug, Default)]
pub(super) struct Reading {
    points: BTreeMap<String, Vec<f64>>,
    /// When the points of each query are, where that is said.
    times: BTreeMap<String, Vec<i64>>,
    /// The series of each query, by what they are called.
    series: BTreeMap<String, BTreeSet<String>>,
    /// Queries that are not answered whole, and how that was said.
    open: BTreeMap<String, StatusCode>,
}

impl Reading {
    pub(super) fn add(&mut self, results: Vec<MetricDataResult>) {
        for result in results {
            let id = result.id.unwrap_or_default();
            let times = result.timestamps.unwrap_or_default();
            self.times.entry(id.clone()).or_default().extend(times.iter().map(DateTime::secs));
            self.series.entry(id.clone()).or_default().insert(result.label.unwrap_or_default());
            self.points.entry(id.clone()).or_default().extend(result.values.unwrap_or_default());
            match result.status_code {
                None | Some(StatusCode::Complete) => self.open.remove(&id),
                Some(status) => self.open.insert(id, status),
            };
        }
    }

    /// Fails with `PermissionDenied` or `Unavailable` if a query was not answered whole: half of the requests look like a
    /// service that is half as busy.
    pub(super) fn whole(self) -> Result<Self> {
        let Some((id, status)) = self.open.first_key_value() else { return Ok(self) };
        let kind = if *status == StatusCode::Forbidden { ErrorKind::PermissionDenied } else { ErrorKind::Unavailable };
        let message = format!("CloudWatch answered `{id}` with `{}`", status.as_str());
        Err(Error::new(kind, "cloudwatch.query", message).advice("nothing is judged by a part of the data"))
    }

    /// The sum of the points; `None` if there are none.
    fn sum(&self, id: &str) -> Option<f64> {
        let points = self.points.get(id).filter(|points| !points.is_empty())?;
        Some(points.iter().sum())
    }

    /// The one point of the expression; `None` if there is none.
    fn point(&self, span: Span) -> Result<Option<f64>> {
        let points = self.points.get(PART).map(Vec::as_slice).unwrap_or_default();
        let series = self.series.get(PART).map_or(0, BTreeSet::len);
        let at = self.times.get(PART).and_then(|times| times.first()).copied().unwrap_or(span.start);
        let invalid = |found: String| {
            Error::invalid("cloudwatch.query", format!("the expression answers with {found}, expected one number"))
                .with("window", format!("{} s", span.period))
                .advice("write one that comes to one number for the whole window, without a period of its own")
        };
        match points {
            _ if series > 1 => Err(invalid(format!("{series} series"))),
            [] => Ok(None),
            // Of a part of the window, or of a time that is not over.
            [_] if at != span.start => Err(invalid(format!("a point {} s off the window", at - span.start))),
            [point] => Ok(Some(*point)),
            points => Err(invalid(format!("{} points", points.len()))),
        }
    }

    /// Fails with `InvalidInput` if an expression does not come to one number.
    pub(super) fn sample(&self, measure: &Measure, span: Span) -> Result<Sample> {
        let requests = self.sum(REQUESTS);
        let count = count(requests);
        let value = match measure {
            Measure::Requests => requests,
            Measure::ErrorRate => {
                // Without errors there are no points of them; one request may try several connections.
                let errors =
                    [PART, REFUSED].into_iter().filter_map(|id| self.sum(id)).fold(0.0, |all, some| all + some);
                requests.filter(|all| *all > 0.0).map(|all| errors.min(all) / all)
            }
            Measure::MeanLatency => {
                let observed = self.sum(OBSERVED).filter(|observed| *observed > 0.0);
                observed.zip(self.sum(PART)).map(|(observed, sum)| sum / observed)
            }
            Measure::Expression { .. } => self.point(span)?,
            _ => self.sum(PART),
        };
        Ok(Sample::new(value, count))
    }
}

/// A number of requests; sums of points are never negative, and never that large.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
fn count(requests: Option<f64>) -> u64 {
    requests.unwrap_or_default().round() as u64
}
