//! Metrics read from `CloudWatch`.

use std::{fmt, num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use aws_sdk_cloudwatch::{Client, types::ScanBy};
use aws_smithy_types::DateTime;
use ecolaura_deploy_core::{
    Context, Result,
    backend::{Measure, MetricQuery, MetricSource, Sample},
    vocabulary::Name,
};
use jiff::Timestamp;

use super::{
    layout::{Layout, asked},
    reading::{Reading, Span},
};
use crate::{Account, access::Grant};

const OPERATION: &str = "cloudwatch.query";

/// How fine most metrics are.
const PERIOD: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// The shortest period that all metrics have, in seconds.
const MINUTE: i32 = 60;

/// How late points come.
const LAG: Duration = Duration::from_mins(1);

/// Metrics that `CloudWatch` has, as the [`Layout`] says which they are.
///
/// Points are of whole minutes, and come late: a question about the last five minutes is answered with five whole
/// minutes that ended at least one minute ago. A shorter window than a minute is answered with one. An answer that
/// `CloudWatch` gives only a part of is an error, not a small number.
///
/// An [expression](Measure::Expression) is asked for one point over the whole window, in whole minutes, since rates, means
/// and percentiles do not add up. It may name the number of requests as `requests`. One that answers with several points,
/// with several series (of `SEARCH`, or `GROUP BY`), or with a point of another time is an error.
pub struct CloudWatchMetrics {
    name: Name,
    account: Account,
    client: Client,
    layout: Layout,
    period: NonZeroU32,
    lag: Duration,
}

impl CloudWatchMetrics {
    /// The metrics of `account`; `name` is for plans and records.
    pub fn new(name: Name, account: &Account, layout: Layout) -> Self {
        let client = Client::new(account.sdk_config());
        Self { name, account: account.clone(), client, layout, period: PERIOD, lag: LAG }
    }

    /// For metrics of another resolution than 60 seconds: 1, 5, 10, 30, or a multiple of 60.
    pub fn period(self, seconds: NonZeroU32) -> Self {
        Self { period: seconds, ..self }
    }

    /// How old a period must be before it is counted: 1 minute unless said otherwise.
    pub fn lag(self, lag: Duration) -> Self {
        Self { lag, ..self }
    }

    fn span(&self, now: Timestamp, query: &MetricQuery) -> Span {
        let period = i32::try_from(self.period.get()).unwrap_or(i32::MAX);
        match query.measure {
            // A period of a minute and more is one of whole minutes.
            Measure::Expression { .. } => Span::of(now, query.window, period.max(MINUTE), self.lag).in_one(),
            _ => Span::of(now, query.window, period, self.lag),
        }
    }

    /// What reading takes. `CloudWatch` does not tell metrics apart in policies.
    pub fn reading() -> Grant {
        Grant::new(["cloudwatch:GetMetricData"], ["*"])
    }
}

#[async_trait]
impl MetricSource for CloudWatchMetrics {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn query(&self, cx: &Context, query: &MetricQuery) -> Result<Sample> {
        cx.check(OPERATION)?;
        let span = self.span(cx.clock().now(), query);
        let queries = asked(&self.layout, query, span.period)?;
        let (mut reading, mut next) = (Reading::default(), None);
        loop {
            let call = self.account.reads((cx, OPERATION), "cloudwatch:GetMetricData", "*");
            let request = self.client.get_metric_data().set_metric_data_queries(Some(queries.clone()));
            let request = request.start_time(DateTime::from_secs(span.start)).end_time(DateTime::from_secs(span.end));
            let page = call.send(request.scan_by(ScanBy::TimestampAscending).set_next_token(next).send()).await?;
            for message in page.messages.unwrap_or_default() {
                cx.warn(format!("CloudWatch: {}", message.value.or(message.code).unwrap_or_default()));
            }
            reading.add(page.metric_data_results.unwrap_or_default());
            next = page.next_token;
            if next.is_none() {
                return reading.whole()?.sample(&query.measure, span);
            }
        }
    }
}

impl fmt::Debug for CloudWatchMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWatchMetrics")
            .field("name", &self.name)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
