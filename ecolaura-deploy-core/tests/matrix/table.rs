//! The table that comes last.
#![expect(clippy::print_stdout, reason = "it is printed")]

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ecolaura_deploy_core::testing::simulation::Verdict;

#[derive(Default)]
struct Row {
    survived: usize,
    contained: BTreeMap<String, String>,
    failed: Vec<String>,
    senseless: Vec<(String, String)>,
}

/// What came of every case so far.
#[derive(Default)]
pub(crate) struct Table(Mutex<BTreeMap<&'static str, Row>>);

impl Table {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<&'static str, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn senseless(&self, family: &'static str, name: &str, why: &str) {
        self.rows().entry(family).or_default().senseless.push((name.to_owned(), why.to_owned()));
    }

    pub(crate) fn note(&self, family: &'static str, name: &str, verdict: &Verdict) {
        let mut rows = self.rows();
        let row = rows.entry(family).or_default();
        match verdict {
            Verdict::Survived => row.survived += 1,
            Verdict::Contained(asked) => drop(row.contained.insert(name.to_owned(), asked.clone())),
            _ => row.failed.push(name.to_owned()),
        }
    }

    pub(crate) fn print(&self) {
        let rows = self.rows();
        println!("family | cases | survived | contained | failed | not applicable");
        println!("-------|-------|----------|-----------|--------|---------------");
        for (family, Row { survived, contained, failed, senseless }) in rows.iter() {
            let (contained, failed, senseless) = (contained.len(), failed.len(), senseless.len());
            let cases = survived + contained + failed;
            println!("{family:6} | {cases:5} | {survived:8} | {contained:9} | {failed:6} | {senseless:14}");
        }
        for (name, asked) in rows.values().flat_map(|row| &row.contained) {
            println!("contained: {name}: {asked}");
        }
        if std::env::var("ECOLAURA_SENSELESS").is_ok() {
            let senseless = rows.values().flat_map(|row| &row.senseless);
            senseless.for_each(|(name, why)| println!("not applicable: {name}: {why}"));
        }
    }
}
