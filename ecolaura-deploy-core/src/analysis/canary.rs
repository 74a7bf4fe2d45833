//! Asking a metric source round by round.

use futures_util::future::{join, join_all};

use super::{Analysis, AnalysisReport, Decision, Measurement, MetricCheck, judge};
use crate::{
    Context, ErrorKind, Result,
    backend::{Measure, MetricQuery, MetricSource, Sample, Track},
    vocabulary::ServiceName,
};

/// Whose candidate is analysed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// The namespace or environment.
    pub namespace: String,
    /// The service.
    pub service: ServiceName,
}

impl Subject {
    /// `service` in `namespace`.
    pub fn new(namespace: impl Into<String>, service: ServiceName) -> Self {
        Self { namespace: namespace.into(), service }
    }
}

/// Measures the candidate of `subject` until a limit is passed or the rounds are over, and answers with the verdict
/// and all evidence, which is also emitted. A failed question is a measurement, not an error. Reads only; a cancel
/// leaves nothing. Fails with `Cancelled`, `Timeout`.
pub async fn run(
    cx: &Context,
    source: &dyn MetricSource,
    subject: &Subject,
    analysis: &Analysis,
) -> Result<AnalysisReport> {
    let mut measurements = Vec::new();
    let title = format!("analysis of {} in {}", subject.service, subject.namespace);
    for round in 1..=analysis.rounds {
        match round {
            1 => first_interval(cx, source, subject, analysis).await?,
            _ => cx.sleep("analysis.run", analysis.interval).await?,
        }
        let found = measure(cx, source, subject, analysis, round).await?;
        for measurement in &found {
            cx.status(format!("{} of {}: {}", round, analysis.rounds, measurement.line()));
        }
        measurements.extend(found);
        cx.progress("rounds", round.into(), Some(analysis.rounds.into()));
        if let Decision::Done(..) = analysis.decide(&measurements) {
            break;
        }
    }
    let (verdict, reasons) = match analysis.decide(&measurements) {
        Decision::Done(verdict, reasons) => (verdict, reasons),
        Decision::Continue => (crate::Verdict::NoData, vec!["the rounds ended without a decision".to_owned()]),
    };
    let lines = measurements.iter().map(Measurement::line).chain(reasons.iter().cloned()).collect();
    cx.evidence(title, lines);
    Ok(AnalysisReport { verdict, reasons, measurements })
}

/// Lets the first interval pass. A source without a memory of its own takes its baseline when it is asked first, so
/// it is asked at the beginning and the answer is not used.
async fn first_interval(cx: &Context, source: &dyn MetricSource, subject: &Subject, analysis: &Analysis) -> Result<()> {
    let prime = |track| async move {
        let query = question(subject, track, Measure::Requests, analysis);
        let _ = source.query(cx, &query).await;
    };
    let stable = async {
        if analysis.checks.iter().any(|check| check.compare_with_stable.is_some()) {
            prime(Track::Stable).await;
        }
    };
    let baseline = async {
        join(prime(Track::Candidate), stable).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = baseline => Ok(()),
        slept = cx.sleep("analysis.run", analysis.interval) => slept,
    }
}

/// One round: every check at the same time, so that all judge the same interval.
async fn measure(
    cx: &Context,
    source: &dyn MetricSource,
    subject: &Subject,
    analysis: &Analysis,
    round: u32,
) -> Result<Vec<Measurement>> {
    let checks = analysis.checks.iter().map(|check| one(cx, source, subject, analysis, (check, round)));
    join_all(checks).await.into_iter().collect()
}

async fn one(
    cx: &Context,
    source: &dyn MetricSource,
    subject: &Subject,
    analysis: &Analysis,
    (check, round): (&MetricCheck, u32),
) -> Result<Measurement> {
    let ask = |track| {
        let query = question(subject, track, check.measure.clone(), analysis);
        async move { source.query(cx, &query).await }
    };
    let stable = async {
        match check.compare_with_stable {
            Some(_) => Some(ask(Track::Stable).await),
            None => None,
        }
    };
    let (candidate, stable) = join(ask(Track::Candidate), stable).await;
    cx.check("analysis.run")?;
    let candidate = not_cancelled(candidate)?;
    let stable = stable.map(not_cancelled).transpose()?;
    Ok(judge(check, round, candidate.as_ref().copied(), stable.as_ref().map(|answer| answer.as_ref().copied())))
}

/// A cancel ends the analysis; every other error is something to judge.
fn not_cancelled(answer: Result<Sample>) -> Result<Result<Sample>> {
    match answer {
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
        answer => Ok(answer),
    }
}

fn question(subject: &Subject, track: Track, measure: Measure, analysis: &Analysis) -> MetricQuery {
    MetricQuery::new(subject.namespace.clone(), subject.service.clone(), track, measure, analysis.interval)
}
