//! What came of every case, by family.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::testing::simulation::Verdict;

#[derive(Debug, Default)]
struct Row {
    survived: usize,
    contained: BTreeMap<String, String>,
    failed: BTreeMap<String, Vec<String>>,
    senseless: Vec<(String, String)>,
}

impl Row {
    /// Cases, survived, contained, failed, not applicable.
    fn counts(&self) -> [usize; 5] {
        let (contained, failed) = (self.contained.len(), self.failed.len());
        [self.survived + contained + failed, self.survived, contained, failed, self.senseless.len()]
    }
}

/// What came of every case so far. Prints as a table, with what operators were asked for below it.
#[derive(Debug, Default)]
pub struct Table(Mutex<BTreeMap<&'static str, Row>>);

impl Table {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<&'static str, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what came of a case.
    pub fn note(&self, family: &'static str, name: &str, verdict: &Verdict) {
        let mut rows = self.rows();
        let row = rows.entry(family).or_default();
        match verdict {
            Verdict::Survived => row.survived += 1,
            Verdict::Contained(asked) => _ = row.contained.insert(name.to_owned(), asked.clone()),
            Verdict::Failed(broken) => _ = row.failed.insert(name.to_owned(), broken.clone()),
        }
    }

    /// Notes a combination that makes no sense.
    pub fn senseless(&self, family: &'static str, name: &str, why: &str) {
        self.rows().entry(family).or_default().senseless.push((name.to_owned(), why.to_owned()));
    }

    /// The combinations that make no sense, each with the reason.
    pub fn not_applicable(&self) -> Vec<String> {
        let rows = self.rows();
        let all = rows.values().flat_map(|row| &row.senseless);
        all.map(|(name, why)| format!("{name}: {why}")).collect()
    }

    /// The cases that failed, each with the promises that it broke.
    pub fn failed(&self) -> Vec<String> {
        let rows = self.rows();
        let all = rows.values().flat_map(|row| &row.failed);
        all.map(|(name, broken)| format!("{name}: {}", broken.join("; "))).collect()
    }

    /// What a Markdown table in `text` says otherwise, in rows like `| E: a push | 10 | 8 | 2 | 0 | 0 |`: another number of
    /// failures, or a number that is off by more than a twentieth of the family's cases, since a change of the code
    /// moves a record or two. Rows of families that were not played say nothing.
    pub fn told_otherwise(&self, text: &str) -> Vec<String> {
        let rows = self.rows();
        let differs = |(family, row): (&&str, &Row)| {
            let begin = format!("| {family}: ");
            let counts = row.counts().map(|count| count.to_string()).join(" | ");
            let wrong = match text.lines().find(|line| line.starts_with(&begin)) {
                Some(line) if told(line).is_some_and(|told| is_near(told, row.counts())) => return None,
                Some(line) => format!("the row is `{line}`"),
                None => "there is no row".to_owned(),
            };
            Some(format!("family {family}: {wrong}, it should end with `| {counts} |`"))
        };
        rows.iter().filter_map(differs).collect()
    }
}

/// The counts at the end of a row.
fn told(line: &str) -> Option<[usize; 5]> {
    let mut cells = line.trim().strip_suffix('|')?.rsplit('|').map(|cell| cell.trim().parse().ok());
    let mut last = || cells.next().flatten();
    let (senseless, failed, contained, survived, cases) = (last()?, last()?, last()?, last()?, last()?);
    Some([cases, survived, contained, failed, senseless])
}

fn is_near(told: [usize; 5], counts: [usize; 5]) -> bool {
    const FAILED: usize = 3;
    let near = |(told, count): (usize, usize)| told.abs_diff(count) <= counts[0] / 20;
    told[FAILED] == counts[FAILED] && told.into_iter().zip(counts).all(near)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        writeln!(f, "family | cases | survived | contained | failed | not applicable")?;
        writeln!(f, "-------|-------|----------|-----------|--------|---------------")?;
        for (family, row) in rows.iter() {
            let [cases, survived, contained, failed, senseless] = row.counts();
            writeln!(f, "{family:6} | {cases:5} | {survived:8} | {contained:9} | {failed:6} | {senseless:14}")?;
        }
        let mut contained = rows.values().flat_map(|row| &row.contained);
        contained.try_for_each(|(name, asked)| writeln!(f, "contained: {name}: {asked}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_says_otherwise_is_noticed() {
        let table = Table::default();
        table.note("E", "E/one", &Verdict::Survived);
        table.note("E", "E/two", &Verdict::Contained("do this".into()));
        table.note("E", "E/three", &Verdict::Failed(vec!["I5".into()]));
        table.senseless("E", "E/four", "no");
        let good = "| E2: more | 9 | 9 | 0 | 0 | 0 |\n| E: a push | 3 | 1 | 1 | 1 | 1 |\n";
        assert_eq!(table.told_otherwise(good), [] as [&str; 0]);
        for bad in ["", &good.replace("| 1 |\n", "| 0 |\n"), &good.replace("push | 3", "push | 13")] {
            let wrong = table.told_otherwise(bad);
            assert!(wrong.len() == 1 && wrong[0].contains("| 3 | 1 | 1 | 1 | 1 |"), "{bad}: {wrong:?}");
        }
        let (near, off) = ([210, 76, 134, 0, 15], [206, 78, 128, 0, 14]);
        assert!(is_near(near, off) && !is_near([220, 86, 134, 0, 15], off) && !is_near([206, 77, 128, 1, 14], off));
        assert_eq!((table.failed(), table.not_applicable()), (vec!["E/three: I5".into()], vec!["E/four: no".into()]));
    }
}
