//! The pure part: a sample to a measurement, measurements to a verdict.

use super::{Analysis, Decision, Measurement, MetricCheck};
use crate::{Error, Verdict, backend::Sample};

/// What `check` says of the candidate's answer and, where it compares, of the stable version's.
pub fn judge(
    check: &MetricCheck,
    round: u32,
    candidate: Result<Sample, &Error>,
    stable: Option<Result<Sample, &Error>>,
) -> Measurement {
    let mut measurement = Measurement::new(&check.name, round, Verdict::Pass, "");
    let sample = match candidate {
        Ok(sample) => sample,
        Err(error) => return conclude(measurement, Verdict::Error, error.report()),
    };
    (measurement.value, measurement.requests) = (sample.value, sample.count);
    measurement.stable = stable.and_then(|answer| answer.ok()?.value);
    let Some(value) = sample.value.filter(|_| sample.count >= check.min_requests) else {
        let reason = format!("{} of at least {} requests", sample.count, check.min_requests);
        return conclude(measurement, Verdict::NoData, reason);
    };
    if let Some(reason) = outside(check, value) {
        return conclude(measurement, Verdict::Fail, format!("{reason} ({} requests)", sample.count));
    }
    let (verdict, reason) = match (check.compare_with_stable, stable) {
        (Some(ratio), Some(stable)) => compare(check, value, ratio, stable),
        (Some(_), None) => (Verdict::NoData, format!("{}, the stable version was not measured", number(value))),
        (None, _) => (Verdict::Pass, within(check, value)),
    };
    conclude(measurement, verdict, format!("{reason} ({} requests)", sample.count))
}

fn conclude(mut measurement: Measurement, verdict: Verdict, reason: String) -> Measurement {
    (measurement.verdict, measurement.reason) = (verdict, reason);
    measurement
}

fn outside(check: &MetricCheck, value: f64) -> Option<String> {
    match (check.fail_above, check.fail_below) {
        (Some(bound), _) if value > bound => Some(format!("{} is above {}", number(value), number(bound))),
        (_, Some(bound)) if value < bound => Some(format!("{} is below {}", number(value), number(bound))),
        _ => None,
    }
}

fn within(check: &MetricCheck, value: f64) -> String {
    let mut text = number(value);
    if let Some(bound) = check.fail_above {
        text = format!("{text}, at most {}", number(bound));
    }
    if let Some(bound) = check.fail_below {
        text = format!("{text}, at least {}", number(bound));
    }
    text
}

fn compare(check: &MetricCheck, value: f64, ratio: f64, stable: Result<Sample, &Error>) -> (Verdict, String) {
    let stable = match stable {
        Ok(stable) => stable.value.filter(|_| stable.count >= check.min_requests),
        Err(error) => return (Verdict::Error, error.report()),
    };
    let bounded = check.fail_above.is_some() || check.fail_below.is_some();
    match stable {
        Some(stable) if stable > 0.0 => {
            let verdict = if value > stable * ratio { Verdict::Fail } else { Verdict::Pass };
            (verdict, format!("{}, stable {}, at most {} times", number(value), number(stable), number(ratio)))
        }
        // A ratio to nothing says nothing.
        _ if bounded => (Verdict::Pass, format!("{}, nothing to compare with", within(check, value))),
        Some(stable) if value <= stable => (Verdict::Pass, format!("{}, stable {}", number(value), number(stable))),
        Some(_) => (Verdict::Inconclusive, format!("{}, stable 0: no ratio", number(value))),
        None => (Verdict::NoData, format!("{}, no data of the stable version", number(value))),
    }
}

/// At most four decimals, none that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Analysis {
    /// What `measurements` (whole rounds, in order) amount to. A failure beyond its limit outweighs errors, these
    /// what is inconclusive, and this a lack of data. At the end every check must have passed at least once.
    pub fn decide(&self, measurements: &[Measurement]) -> Decision {
        let limits = [
            (Verdict::Fail, self.failure_limit),
            (Verdict::Error, self.error_limit),
            (Verdict::Inconclusive, self.inconclusive_limit),
            (Verdict::NoData, self.no_data_limit),
        ];
        for (verdict, limit) in limits {
            let reasons = self.beyond(measurements, verdict, limit);
            if !reasons.is_empty() {
                return Decision::Done(verdict, reasons);
            }
        }
        if measurements.iter().map(|one| one.round).max().unwrap_or(0) < self.rounds {
            return Decision::Continue;
        }
        self.conclude(measurements)
    }

    /// The reasons of the checks that have more than `limit` measurements of `verdict`.
    fn beyond(&self, measurements: &[Measurement], verdict: Verdict, limit: u32) -> Vec<String> {
        let mut reasons = Vec::new();
        for check in &self.checks {
            let found: Vec<_> =
                measurements.iter().filter(|one| one.check == check.name && one.verdict == verdict).collect();
            if found.len() > limit as usize {
                reasons.extend(found.into_iter().map(Measurement::line));
            }
        }
        reasons
    }

    fn conclude(&self, measurements: &[Measurement]) -> Decision {
        let passed = |check: &&MetricCheck| {
            measurements.iter().any(|one| one.check == check.name && one.verdict == Verdict::Pass)
        };
        let unproven: Vec<_> = self.checks.iter().filter(|check| !passed(check)).collect();
        if self.checks.is_empty() || self.rounds == 0 {
            return Decision::Done(Verdict::NoData, vec!["the analysis has no checks or no rounds".to_owned()]);
        }
        if unproven.is_empty() {
            let rounds = format!("{} checks passed in {} rounds", self.checks.len(), self.rounds);
            return Decision::Done(Verdict::Pass, vec![rounds]);
        }
        let reasons = measurements.iter().filter(|one| unproven.iter().any(|check| check.name == one.check));
        let mut lines: Vec<_> = unproven.iter().map(|check| format!("{} never passed", check.name)).collect();
        lines.extend(reasons.map(Measurement::line));
        Decision::Done(Verdict::NoData, lines)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::Measure;

    const fn sample(value: Option<f64>, count: u64) -> Sample {
        Sample { value, count }
    }

    #[test]
    fn samples_are_judged_by_bounds_minimum_and_comparison() {
        let base = || MetricCheck::new("error rate", Measure::ErrorRate).min_requests(10);
        let bound = base().fail_above(0.05);
        let ratio = base().compare_with_stable(2.0);
        let both = base().fail_above(0.05).compare_with_stable(2.0);
        let (good, bad, few) = (sample(Some(0.02), 50), sample(Some(0.4), 50), sample(Some(1.0), 9));
        let (none, zero, same) = (sample(None, 0), sample(Some(0.0), 50), sample(Some(0.01), 50));
        for (check, candidate, stable, verdict) in [
            (&bound, good, None, Verdict::Pass),
            (&bound, sample(Some(0.05), 50), None, Verdict::Pass),
            (&bound, bad, None, Verdict::Fail),
            (&bound, few, None, Verdict::NoData),
            (&bound, none, None, Verdict::NoData),
            (&ratio, good, Some(same), Verdict::Pass),
            (&ratio, bad, Some(same), Verdict::Fail),
            (&ratio, good, Some(zero), Verdict::Inconclusive),
            (&ratio, zero, Some(zero), Verdict::Pass),
            (&ratio, good, Some(none), Verdict::NoData),
            (&ratio, good, None, Verdict::NoData),
            (&both, good, Some(zero), Verdict::Pass),
            (&both, bad, Some(sample(Some(0.9), 50)), Verdict::Fail),
        ] {
            let measurement = judge(check, 1, Ok(candidate), stable.map(Ok));
            assert_eq!(measurement.verdict, verdict, "{candidate:?} {stable:?}: {}", measurement.reason);
        }
        let error = Error::invalid("metrics.query", "bad page");
        assert_eq!(judge(&bound, 1, Err(&error), None).verdict, Verdict::Error);
        assert_eq!(judge(&ratio, 1, Ok(good), Some(Err(&error))).verdict, Verdict::Error);
        assert_eq!(judge(&bound, 1, Ok(bad), None).reason, "0.4 is above 0.05 (50 requests)");
        let slow = base().fail_below(100.0);
        assert_eq!(judge(&slow, 1, Ok(sample(Some(99.0), 50)), None).verdict, Verdict::Fail);
    }

    /// `P`ass, `F`ail, `N`o data, `E`rror, `I`nconclusive; one letter a round.
    fn measurements(letters: &str) -> Vec<Measurement> {
        let verdict = |letter| match letter {
            'P' => Verdict::Pass,
            'F' => Verdict::Fail,
            'N' => Verdict::NoData,
            'E' => Verdict::Error,
            _ => Verdict::Inconclusive,
        };
        letters.chars().zip(1..).map(|(letter, round)| Measurement::new("c", round, verdict(letter), "why")).collect()
    }

    #[test]
    fn each_kind_of_trouble_has_its_own_budget() {
        let check = MetricCheck::new("c", Measure::ErrorRate);
        let analysis = Analysis::new(vec![check], Duration::from_secs(1), 5).failure_limit(1).tolerating(2, 1, 1);
        let done = Some;
        for (letters, expected) in [
            ("", None),
            ("PPPP", None),
            ("PPPPP", done(Verdict::Pass)),
            ("PFPPP", done(Verdict::Pass)),
            ("FF", done(Verdict::Fail)),
            ("PPPPFF", done(Verdict::Fail)),
            ("NNP", None),
            ("NNN", done(Verdict::NoData)),
            ("NNPEI", done(Verdict::Pass)),
            ("EE", done(Verdict::Error)),
            ("II", done(Verdict::Inconclusive)),
            ("IIEEFF", done(Verdict::Fail)),
            ("NNNII", done(Verdict::Inconclusive)),
            ("NNEIF", done(Verdict::NoData)),
        ] {
            let verdict = match analysis.decide(&measurements(letters)) {
                Decision::Continue => None,
                Decision::Done(verdict, reasons) => {
                    assert!(!reasons.is_empty(), "{letters}");
                    Some(verdict)
                }
            };
            assert_eq!(verdict, expected, "{letters}");
        }
    }

    #[test]
    fn one_check_does_not_answer_for_another_and_nothing_is_not_a_pass() {
        let check = |name| MetricCheck::new(name, Measure::ErrorRate);
        let analysis = Analysis::new(vec![check("c"), check("d")], Duration::from_secs(1), 2);
        let decision = analysis.decide(&measurements("PP"));
        let Decision::Done(Verdict::NoData, reasons) = decision else { panic!("{decision:?}") };
        assert_eq!(reasons, ["d never passed"]);
        let empty = Analysis::new(Vec::new(), Duration::from_secs(1), 0);
        assert!(matches!(empty.decide(&[]), Decision::Done(Verdict::NoData, _)));
    }
}
