//! What is measured, and how often.

use ecolaura_deploy_benches::options;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) cases: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) objects: usize,
    pub(crate) pods: usize,
}

impl Options {
    /// Reads `arguments`; the error tells what is allowed.
    pub(crate) fn of(arguments: &[String], cases: &[&str]) -> Result<Self, String> {
        let usual = [("--rounds", 5), ("--objects", 1000), ("--pods", 5000)];
        let (cases, [rounds, objects, pods]) = options(arguments, cases, usual)?;
        Ok(Self { cases: cases.into_iter().map(str::to_owned).collect(), rounds, objects, pods })
    }
}
