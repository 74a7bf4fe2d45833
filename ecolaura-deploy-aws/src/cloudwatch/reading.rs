//! What the answers amount to: pure.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_cloudwatch::types::{MetricDataResult, StatusCode};
use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    backend::{Measure, Sample},
};
use jiff::Timestamp;

use super::layout::{OBSERVED, PART, REFUSED, REQUESTS};

/// From when to when is asked, in seconds. `CloudWatch` keeps points at whole periods: a question between them would
/// count parts of points, or none. The newest periods, which are still filling, are left out.
pub(super) fn span(now: Timestamp, window: Duration, period: i64, lag: Duration) -> (i64, i64) {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let end = (now.as_second() - seconds(lag)).div_euclid(period) * period;
    let periods = seconds(window).max(1).saturating_add(period - 1) / period;
    (end - periods * period, end)
}

/// The points of each query, over all pages.
#[derive(Debug, Default)]
pub(super) struct Reading {
    points: BTreeMap<String, Vec<f64>>,
    /// Queries that are not answered whole, and how that was said.
    open: BTreeMap<String, StatusCode>,
}

impl Reading {
    pub(super) fn add(&mut self, results: Vec<MetricDataResult>) {
        for result in results {
            let id = result.id.unwrap_or_default();
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

    pub(super) fn sample(&self, measure: &Measure) -> Sample {
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
            _ => self.sum(PART),
        };
        Sample::new(value, count)
    }
}

/// A number of requests; sums of points are never negative, and never that large.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
fn count(requests: Option<f64>) -> u64 {
    requests.unwrap_or_default().round() as u64
}
