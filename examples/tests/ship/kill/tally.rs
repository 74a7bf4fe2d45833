//! What became of the cases.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// How a case ended that did not fail.
pub enum Verdict {
    /// All was well, without anybody's help; so many places in one.
    Survived(usize),
    /// Nothing was damaged, and somebody was told what to do.
    Contained(String),
    /// There is no such case, and why.
    NotApplicable(String),
}

#[derive(Default)]
struct Row {
    survived: usize,
    contained: Vec<String>,
    failed: Vec<String>,
    not_applicable: Vec<String>,
}

/// The counts, by family.
#[derive(Default)]
pub struct Tally(BTreeMap<&'static str, Row>);

impl Tally {
    /// Runs a case. One that panics has failed, and the others go on.
    pub fn case(&mut self, family: &'static str, name: &str, case: impl FnOnce() -> Verdict) {
        let began = std::time::Instant::now();
        let verdict = catch_unwind(AssertUnwindSafe(case));
        let row = self.0.entry(family).or_default();
        let what = match verdict {
            Ok(Verdict::Survived(places)) => {
                row.survived += places;
                format!("survived ({places})")
            }
            Ok(Verdict::Contained(why)) => {
                row.contained.push(format!("{name}: {why}"));
                format!("contained: {why}")
            }
            Ok(Verdict::NotApplicable(why)) => {
                row.not_applicable.push(format!("{name}: {why}"));
                format!("not applicable: {why}")
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                row.failed.push(format!("{name}: {}", text.unwrap_or_default()));
                "FAILED".to_owned()
            }
        };
        eprintln!("{family} | {name}: {what} in {:.1?}", began.elapsed());
    }

    /// Prints the table, and fails if a case did.
    pub fn finish(self) {
        eprintln!("\n{:34} {:>9} {:>9} {:>6} {:>14}", "", "survived", "contained", "failed", "not applicable");
        for (family, row) in &self.0 {
            let (contained, failed, none) = (row.contained.len(), row.failed.len(), row.not_applicable.len());
            eprintln!("{family:34} {:>9} {contained:>9} {failed:>6} {none:>14}", row.survived);
        }
        for line in self.0.values().flat_map(|row| row.contained.iter().chain(&row.not_applicable)) {
            eprintln!("  {line}");
        }
        let failed: Vec<String> = self.0.into_values().flat_map(|row| row.failed).collect();
        assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n\n"));
    }
}
