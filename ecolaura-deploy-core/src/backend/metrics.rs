//! Reading metrics, for canary analysis and alerts.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    vocabulary::{Name, ServiceName},
};

/// Which of the versions running side by side is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Track {
    /// The one that serves.
    Stable,
    /// The new one beside it.
    Candidate,
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stable => "stable",
            Self::Candidate => "candidate",
        })
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "measure", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// Answered requests.
    Requests,
    /// The share of requests answered with a status from 500 on, 0 to 1.
    ErrorRate,
    /// The mean time to answer, in seconds.
    MeanLatency,
    /// The increase of a counter, summed over all series that have these labels.
    Counter {
        /// Its name.
        name: String,
        /// The labels that a series must have.
        labels: BTreeMap<String, String>,
    },
    /// The backend's own language, such as `PromQL`.
    Expression {
        /// The expression.
        text: String,
    },
}

/// A question about one version of a service over a time that ends now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricQuery {
    /// The namespace or environment of the service.
    pub namespace: String,
    /// The service.
    pub service: ServiceName,
    /// Which version.
    pub track: Track,
    /// What.
    pub measure: Measure,
    /// Over how long.
    pub window: Duration,
}

impl MetricQuery {
    /// `measure` of `service` over `window`.
    pub fn new(
        namespace: impl Into<String>,
        service: ServiceName,
        track: Track,
        measure: Measure,
        window: Duration,
    ) -> Self {
        Self { namespace: namespace.into(), service, track, measure, window }
    }
}

/// An answer. `value` is `None` where there was nothing to compute from, which is neither good nor bad.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sample {
    /// The value; never NaN.
    pub value: Option<f64>,
    /// How many requests or observations stand behind it.
    pub count: u64,
}

impl Sample {
    /// `value` from `count` observations; NaN becomes `None`.
    pub fn new(value: Option<f64>, count: u64) -> Self {
        Self { value: value.filter(|value| !value.is_nan()), count }
    }
}

/// Answers questions about running services.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait MetricSource: fmt::Debug + Send + Sync + 'static {
    /// The backend's name.
    fn name(&self) -> &Name;

    /// Answers `query`. Reads only; a cancel leaves nothing. No data is a [`Sample`] without value; an error
    /// (`Unavailable`, `Timeout`, `InvalidInput`, `Unsupported`) means that the source failed.
    async fn query(&self, cx: &Context, query: &MetricQuery) -> Result<Sample>;
}

const _: fn(&dyn MetricSource) = |_| {};
