//! Saying yes to losing what was written.

use std::time::Duration;

use ecolaura_deploy_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use crate::account::minutes;

/// The word of a person that what was written in a time may be lost. Nothing takes a database back without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedLoss {
    most: Duration,
    why: String,
}

impl AcceptedLoss {
    /// What was written in the last `most` may be lost, because of `why`. Where more would be lost by then, nothing is
    /// switched.
    pub fn of_the_last(most: Duration, why: impl Into<String>) -> Self {
        Self { most, why: why.into() }
    }

    /// What a plan says of going back to `point`.
    pub(super) fn line(&self, point: Option<Timestamp>, now: Timestamp) -> String {
        let (most, why) = (minutes(self.most), &self.why);
        match point {
            None => format!("what was written since is lost; up to {most} is accepted: {why}"),
            Some(point) => {
                let lost = minutes(since(point, now));
                format!("what was written since {point} is lost, now {lost}; up to {most} is accepted: {why}")
            }
        }
    }

    /// Fails with `GateRefused` if more would be lost than was agreed to.
    pub(super) fn covers(&self, point: Timestamp, now: Timestamp) -> Result<()> {
        let lost = since(point, now);
        if lost <= self.most {
            return Ok(());
        }
        let message = format!(
            "what was written since {point} would be lost, {}, and {} was agreed to",
            minutes(lost),
            minutes(self.most)
        );
        Err(Error::new(ErrorKind::GateRefused, "rds.switch", message)
            .with("since", point)
            .with("accepted", format!("{} s", self.most.as_secs()))
            .advice("nothing was switched; agree to more, or restore a later point"))
    }
}

fn since(point: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(point)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_was_agreed_to_is_refused_and_said() {
        let accepted = AcceptedLoss::of_the_last(Duration::from_hours(1), "INC-7");
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (point, now) = (at("2026-11-26T09:00:00Z"), at("2026-11-26T10:00:00Z"));
        accepted.covers(point, now).unwrap();
        let error = accepted.covers(point, at("2026-11-26T10:00:01Z")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::GateRefused);
        let line = accepted.line(Some(point), now);
        assert!(line.contains("now 60 min; up to 60 min is accepted: INC-7"), "{line}");
    }
}
