//! Metrics read from the services' own `/metrics`.
//!
//! Counters are read now and after the window; the difference is the answer. Samples are kept in memory, a bounded
//! number for each pod, so that a question asked every window is answered at once from the second time on.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::{
    Context, Error, ErrorKind, Result,
    backend::{ClusterTarget, Measure, MetricQuery, MetricSource, Sample, Track},
    vocabulary::{Name, ServiceName},
};

mod history;
mod page;
mod scrape;

use self::{
    history::{Histories, Increase},
    scrape::Scraper,
};

/// Knows where the pods of a service answer.
#[async_trait]
pub trait PodSource: fmt::Debug + Send + Sync + 'static {
    /// The addresses, `host:port`, of the pods of `service` on `track`; none is not an error. Reads only.
    async fn pods(&self, cx: &Context, namespace: &str, service: &ServiceName, track: Track) -> Result<Vec<String>>;
}

const _: fn(&dyn PodSource) = |_| {};

#[async_trait]
impl PodSource for Arc<dyn ClusterTarget> {
    async fn pods(&self, cx: &Context, namespace: &str, service: &ServiceName, track: Track) -> Result<Vec<String>> {
        let status = self.status(cx, &Name::new(namespace)?).await?;
        let wanted = status.pods.into_iter().filter(|pod| pod.service == *service && pod.track == track);
        Ok(wanted.filter_map(|pod| pod.address).collect())
    }
}

/// Reads `http://POD/metrics` of each pod, in Prometheus' text format.
///
/// | measure | from |
/// |---|---|
/// | requests | the increase of `http_requests_total` |
/// | error rate | its share with a label `code` (or `status`) from 500 to 599 |
/// | mean latency | the increases of `http_request_duration_seconds_sum` and `_count` |
/// | counter | the increase of the named series that have the labels |
///
/// A counter that became smaller began again from 0. A series that appears within the window counts from 0. A pod
/// that has just appeared counts from the next window on. A page is read for 5 s at most and may have 4 MiB.
#[derive(Debug)]
pub struct ServiceMetrics {
    name: Name,
    pods: Box<dyn PodSource>,
    scraper: Scraper,
    histories: Histories,
}

impl ServiceMetrics {
    /// Asks `pods` where the services are.
    pub fn new(name: Name, pods: impl PodSource) -> Self {
        Self { name, pods: Box::new(pods), scraper: Scraper::new(), histories: Histories::default() }
    }

    /// The same with another time for reading one page.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.scraper.timeout = timeout;
        self
    }

    /// The increases over the window of every pod that has a baseline, and the largest wait for one, if none has.
    async fn attempt(&self, cx: &Context, query: &MetricQuery, pods: &[String]) -> Result<Attempt> {
        let reads = join_all(pods.iter().map(|pod| self.histories.read(&self.scraper, pod, query.window)));
        let mut answers = Vec::new();
        let mut wait = None;
        let mut errors = Vec::new();
        for (pod, read) in pods.iter().zip(cx.bounded("metrics.query", reads).await?) {
            match read {
                Ok(history::Answer::Increase(increase)) => answers.push(increase),
                Ok(history::Answer::Wait(time)) => wait = wait.max(Some(time)),
                Err(error) => errors.push((pod, error)),
            }
        }
        if answers.is_empty() && wait.is_none() {
            return match errors.into_iter().next() {
                Some((_, error)) => Err(error.with("failed pods", pods.len())),
                None => Ok(Attempt::Increases(answers)),
            };
        }
        for (pod, error) in errors {
            cx.warn(format!("the metrics of pod {pod} are left out: {}", error.report()));
        }
        Ok(match wait {
            Some(time) if answers.is_empty() => Attempt::Wait(time),
            _ => Attempt::Increases(answers),
        })
    }
}

enum Attempt {
    Increases(Vec<Increase>),
    Wait(Duration),
}

#[async_trait]
impl MetricSource for ServiceMetrics {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn query(&self, cx: &Context, query: &MetricQuery) -> Result<Sample> {
        cx.check("metrics.query")?;
        if let Measure::Expression { text } = &query.measure {
            return Err(Error::new(ErrorKind::Unsupported, "metrics.query", "this source has no query language")
                .with("expression", text)
                .advice("use requests, error rate, mean latency or a counter, or a Prometheus source"));
        }
        loop {
            let asked = self.pods.pods(cx, &query.namespace, &query.service, query.track);
            let pods = cx.bounded("metrics.query", asked).await??;
            match self.attempt(cx, query, &pods).await? {
                Attempt::Increases(increases) => return Ok(evaluate(&query.measure, &increases)),
                Attempt::Wait(time) => cx.sleep("metrics.query", time).await?,
            }
        }
    }
}

/// The answer from the increases of all pods.
fn evaluate(measure: &Measure, increases: &[Increase]) -> Sample {
    let total = |name: &str, keep: &dyn Fn(&page::Series) -> bool| -> Option<f64> {
        let found = increases.iter().filter_map(|increase| increase.sum(name, keep));
        found.fold(None, |sum, one| Some(sum.unwrap_or(0.0) + one))
    };
    let requests = total("http_requests_total", &|_| true);
    match measure {
        Measure::Requests => Sample::new(requests, whole(requests)),
        Measure::ErrorRate => {
            let failed = total("http_requests_total", &page::Series::is_server_error).unwrap_or(0.0);
            let rate = requests.filter(|requests| *requests > 0.0).map(|requests| failed / requests);
            Sample::new(rate, whole(requests))
        }
        Measure::MeanLatency => {
            let seconds = total("http_request_duration_seconds_sum", &|_| true);
            let count = total("http_request_duration_seconds_count", &|_| true).filter(|count| *count > 0.0);
            Sample::new(seconds.zip(count).map(|(seconds, count)| seconds / count), whole(count))
        }
        Measure::Counter { name, labels } => {
            let value = total(name, &|series| series.has(labels));
            Sample::new(value, whole(requests.or(value)))
        }
        Measure::Expression { .. } => Sample::new(None, 0),
    }
}

/// Counters are whole and positive; anything else is a broken page, and counts as nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and NaN becomes 0")]
fn whole(value: Option<f64>) -> u64 {
    value.unwrap_or(0.0).round() as u64
}

#[cfg(test)]
mod tests;
