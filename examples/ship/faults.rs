//! Faults on demand. They are made of what core offers to everyone: the `Faulty` wrapper and event sinks. Neither core
//! nor the executor knows of them.

use std::{collections::BTreeSet, sync::Arc};

use ecolaura_deploy_core::{
    Error, Result,
    event::{Event, EventKind, EventSink, FnSink, StepOutcome},
    testing::{Fault, Faulty},
    vocabulary::EnvironmentName,
};

use super::{options::Options, session::remark};

/// Which steps fail, and where the process aborts.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    fail: Vec<String>,
    crash_within: Vec<String>,
    crash_before: Vec<String>,
    crash_after: Vec<String>,
}

impl Faults {
    /// Those that `options` ask for, all of which must name one of `steps`, given as `env/step`.
    pub fn new(options: &Options, steps: &[String]) -> Result<Self> {
        let faults = Self {
            fail: options.fail.clone(),
            crash_within: options.crash_within.clone(),
            crash_before: options.crash_before.clone(),
            crash_after: options.crash_after.clone(),
        };
        for asked in faults.all() {
            if !steps.iter().any(|step| names(asked, step)) {
                return Err(unknown(asked, steps));
            }
        }
        Ok(faults)
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.fail.iter().chain(&self.crash_within).chain(&self.crash_before).chain(&self.crash_after)
    }

    /// `step`, failing or aborting at its end if that was asked for.
    pub fn on<S>(&self, environment: &EnvironmentName, name: &str, step: S) -> Faulty<S>
    where
        S: ecolaura_deploy_core::step::Step,
    {
        let whole = format!("{environment}/{name}");
        let asked = |list: &[String]| list.iter().any(|asked| names(asked, &whole));
        let fault = match (asked(&self.crash_within), asked(&self.fail)) {
            (true, _) => Some(Fault::AbortAfter),
            (_, true) => Some(Fault::FailAfter),
            _ => None,
        };
        Faulty::new(step, fault)
    }

    /// Aborts the process when the events come to the place that was asked for, which it says. What an earlier process
    /// had ended does not end again.
    pub fn hook(&self) -> Arc<dyn EventSink> {
        let (before, after) = (self.crash_before.clone(), self.crash_after.clone());
        Arc::new(FnSink::new(move |event: &Event| {
            let (place, at) = match event.kind {
                EventKind::StepStarted => ("before", &before),
                EventKind::StepFinished { outcome: StepOutcome::Kept, .. } => return,
                EventKind::StepFinished { .. } => ("after", &after),
                _ => return,
            };
            let Some(step) = &event.step else { return };
            let whole = format!("{}/{step}", event.environment);
            if at.iter().any(|asked| names(asked, &whole)) {
                remark(&format!("aborting {place} {whole}, as asked"));
                std::process::abort();
            }
        }))
    }
}

/// Whether `asked`, `env/step` or a bare step, means `step`, given as `env/step`.
fn names(asked: &str, step: &str) -> bool {
    asked == step || step.split_once('/').is_some_and(|(_, bare)| bare == asked)
}

fn unknown(asked: &str, steps: &[String]) -> Error {
    let bare: BTreeSet<&str> = steps.iter().filter_map(|step| Some(step.split_once('/')?.1)).collect();
    let valid: Vec<&str> = steps.iter().map(String::as_str).chain(bare).collect();
    Error::invalid("ship.options", format!("there is no step `{asked}`; there are:\n{}", valid.join("\n")))
}
