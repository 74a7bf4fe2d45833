//! What many simulations came to.

use std::fmt;

use super::{mishap::Mishap, verdict::Verdict};

/// One simulation in a report.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Case {
    /// The seed.
    pub seed: u64,
    /// What went wrong in it.
    pub mishaps: Vec<Mishap>,
    /// What it came to.
    pub verdict: Verdict,
    /// The command that repeats it.
    pub again: String,
}

/// What all simulations came to.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// Each of them, by seed.
    pub cases: Vec<Case>,
}

impl Report {
    /// How many survived, were contained, failed.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |which: fn(&Verdict) -> bool| self.cases.iter().filter(|case| which(&case.verdict)).count();
        (
            count(|verdict| *verdict == Verdict::Survived),
            count(|verdict| matches!(verdict, Verdict::Contained(_))),
            count(|verdict| matches!(verdict, Verdict::Failed(_))),
        )
    }

    /// Those that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| matches!(case.verdict, Verdict::Failed(_)))
    }

    /// Checks that none failed.
    ///
    /// # Panics
    ///
    /// If one did, with a line that repeats it and what it broke.
    pub fn assert(&self) {
        assert!(self.failed().next().is_none(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (survived, contained, failed) = self.counts();
        write!(f, "{} simulations: {survived} survived, {contained} contained, {failed} failed", self.cases.len())?;
        for Case { again, mishaps, verdict, .. } in self.failed() {
            let mishaps: Vec<String> = mishaps.iter().map(ToString::to_string).collect();
            write!(f, "\n{again}    # {}", mishaps.join(", "))?;
            if let Verdict::Failed(broken) = verdict {
                broken.iter().try_for_each(|line| write!(f, "\n    {line}"))?;
            }
        }
        Ok(())
    }
}
