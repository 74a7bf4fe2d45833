//! Faults on demand. They are made of what core offers to everyone: the `Faulty` wrapper and event sinks. Neither core
//! nor the executor knows of them.

use std::{collections::BTreeSet, sync::Arc};

use ecolaura_deploy_core::{
    Error, Result,
    event::{Event, EventKind, EventSink, FnSink},
    testing::{Fault, Faulty},
    vocabulary::EnvironmentName,
};

use super::options::Options;

/// Which steps fail, and where the process aborts.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    fail: Vec<String>,
    crash_before: Vec<String>,
    crash_after: Vec<String>,
}

impl Faults {
    /// Those that `options` ask for, all of which must name one of `steps`, given as `env/step`.
    pub fn new(options: &Options, steps: &[String]) -> Result<Self> {
        let faults = Self {
            fail: options.fail.clone(),
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
        self.fail.iter().chain(&self.crash_before).chain(&self.crash_after)
    }

    /// `step`, failing at its end if that was asked for.
    pub fn on<S>(&self, environment: &EnvironmentName, name: &str, step: S) -> Faulty<S>
    where
        S: ecolaura_deploy_core::step::Step,
    {
        let whole = format!("{environment}/{name}");
        let fails = self.fail.iter().any(|asked| names(asked, &whole));
        Faulty::new(step, fails.then_some(Fault::FailAfter))
    }

    /// Aborts the process when the events come to the place that was asked for.
    pub fn hook(&self) -> Arc<dyn EventSink> {
        let (before, after) = (self.crash_before.clone(), self.crash_after.clone());
        Arc::new(FnSink::new(move |event: &Event| {
            let at = match event.kind {
                EventKind::StepStarted => &before,
                EventKind::StepFinished { .. } => &after,
                _ => return,
            };
            let Some(step) = &event.step else { return };
            let whole = format!("{}/{step}", event.environment);
            if at.iter().any(|asked| names(asked, &whole)) {
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
