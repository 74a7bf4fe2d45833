//! Judging: whether a candidate may have more of the requests, whether a scanned image may be shipped.
//!
//! Every measurement is one of five [`Verdict`]s, and each kind of trouble has a budget of its own: no data and a
//! failed query are neither good nor bad. The decisions are pure; [`run`] does the asking and waiting.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Verdict, backend::Measure};

mod canary;
pub mod data;
mod judge;
pub mod scan;

pub use self::{
    canary::{Subject, run},
    judge::judge,
};

/// One thing that must hold of the candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricCheck {
    /// Its name in reasons and evidence: `error rate`.
    pub name: String,
    /// What is measured.
    pub measure: Measure,
    /// A greater value fails.
    pub fail_above: Option<f64>,
    /// A smaller value fails.
    pub fail_below: Option<f64>,
    /// Fewer requests than this are no data.
    pub min_requests: u64,
    /// A value greater than this many times the stable version's, measured over the same time, fails.
    pub compare_with_stable: Option<f64>,
}

impl MetricCheck {
    /// A check of `measure` that passes whatever there is, from one request on.
    pub fn new(name: impl Into<String>, measure: Measure) -> Self {
        Self {
            name: name.into(),
            measure,
            fail_above: None,
            fail_below: None,
            min_requests: 1,
            compare_with_stable: None,
        }
    }

    /// The same, failing above `bound`.
    pub fn fail_above(mut self, bound: f64) -> Self {
        self.fail_above = Some(bound);
        self
    }

    /// The same, failing below `bound`.
    pub fn fail_below(mut self, bound: f64) -> Self {
        self.fail_below = Some(bound);
        self
    }

    /// The same, without data below `requests`.
    pub fn min_requests(mut self, requests: u64) -> Self {
        self.min_requests = requests;
        self
    }

    /// The same, failing above `ratio` times the stable version's value. Where that is 0 or unknown, a ratio says
    /// nothing: absolute bounds decide, and without them the measurement is inconclusive or no data.
    pub fn compare_with_stable(mut self, ratio: f64) -> Self {
        self.compare_with_stable = Some(ratio);
        self
    }
}

/// Checks, how often they are made, and how much trouble is borne. A limit is the number that is still tolerated for
/// each check over the whole analysis: one more ends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Analysis {
    /// The checks. All must pass.
    pub checks: Vec<MetricCheck>,
    /// The time between rounds; each round judges the time since the last.
    pub interval: Duration,
    /// How many rounds.
    pub rounds: u32,
    /// Failed measurements.
    pub failure_limit: u32,
    /// Measurements without data.
    pub no_data_limit: u32,
    /// Questions that the source could not answer.
    pub error_limit: u32,
    /// Measurements that say nothing.
    pub inconclusive_limit: u32,
}

impl Analysis {
    /// `rounds` of `checks`, one every `interval`. No failure is borne; of the other kinds, one less than `rounds`,
    /// so that a single good round is enough where nothing was bad.
    pub fn new(checks: Vec<MetricCheck>, interval: Duration, rounds: u32) -> Self {
        let most = rounds.saturating_sub(1);
        Self {
            checks,
            interval,
            rounds,
            failure_limit: 0,
            no_data_limit: most,
            error_limit: most,
            inconclusive_limit: most,
        }
    }

    /// The same, bearing `failures` failed measurements of each check.
    pub fn failure_limit(mut self, failures: u32) -> Self {
        self.failure_limit = failures;
        self
    }

    /// The same, bearing this many measurements of each check that are without data, errors, and inconclusive.
    pub fn tolerating(mut self, no_data: u32, errors: u32, inconclusive: u32) -> Self {
        (self.no_data_limit, self.error_limit, self.inconclusive_limit) = (no_data, errors, inconclusive);
        self
    }

    /// How long it takes when no limit ends it, without the time that the source needs to answer.
    pub fn longest(&self) -> Duration {
        self.interval.saturating_mul(self.rounds)
    }
}

/// What one check found in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measurement {
    /// The check's name.
    pub check: String,
    /// The round, from 1.
    pub round: u32,
    /// What it says.
    pub verdict: Verdict,
    /// The candidate's value.
    pub value: Option<f64>,
    /// The stable version's value, where it was compared.
    pub stable: Option<f64>,
    /// How many requests stand behind the value.
    pub requests: u64,
    /// Values and bounds in one line.
    pub reason: String,
}

impl Measurement {
    /// A measurement of `check` in `round` that says `verdict`, because of `reason`; values are added by fields.
    pub fn new(check: impl Into<String>, round: u32, verdict: Verdict, reason: impl Into<String>) -> Self {
        Self { check: check.into(), round, verdict, value: None, stable: None, requests: 0, reason: reason.into() }
    }

    /// The line of evidence for people.
    pub fn line(&self) -> String {
        let word = match self.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::NoData => "no data",
            Verdict::Error => "error",
            Verdict::Inconclusive => "inconclusive",
        };
        format!("round {}: {}: {word}: {}", self.round, self.check, self.reason)
    }
}

/// What the measurements so far amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Rounds are left and no limit was passed.
    Continue,
    /// The verdict, and why.
    Done(Verdict, Vec<String>),
}

/// The result of an analysis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AnalysisReport {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in lines.
    pub reasons: Vec<String>,
    /// Everything that was measured, in order.
    pub measurements: Vec<Measurement>,
}
