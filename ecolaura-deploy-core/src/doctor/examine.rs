//! Looking, without changing anything.

use std::sync::Arc;

use super::{
    Doctor, Examination, Finding, Severity, Subject, Unread, findings,
    held::{self, Held},
    runs::Chosen,
};
use crate::{
    Context, ErrorKind, ErrorRecord, Result,
    backend::Inspect,
    store::{self, EnvironmentState, run_prefix},
};

const OPERATION: &str = "doctor.examine";

impl Doctor {
    /// Looks at what is open or live, at the newest 50 runs and releases, and at the backends; [`Doctor::everything`]
    /// looks at older ones too. Reads only.
    ///
    /// A damaged record and a backend that cannot be looked at are findings, not errors. Fails if the run store cannot
    /// be read, and with `Cancelled` or `Timeout`.
    pub async fn examine(&self, cx: &Context) -> Result<Examination> {
        cx.check(OPERATION)?;
        let store = self.store.as_ref();
        // In this order: of a run that is listed the state knows, and what ends meanwhile has its end in its records.
        let runs = self.names().await?;
        let state = readable(store::state(store, &self.environment).await.map(Some))?;
        let held = readable(held::read(store, &self.environment).await)?;
        let Chosen { runs, unread } = self.choose(runs, state.as_ref()).await?;
        let mut findings = self.of_runs(cx, runs, (state.as_ref(), held.as_ref())).await?;
        let records = self.check(cx, OPERATION).await?;
        findings.extend(records.faults.iter().map(findings::stray_fault));
        let in_use = self.in_use(cx, OPERATION).await?;
        for backend in &self.backends {
            findings.extend(look_at(cx, backend, in_use.as_deref()).await?);
        }
        let action = || format!("`{}` reads them too", self.commands.everything);
        let unread =
            (unread + records.unread > 0).then(|| Unread { runs: unread, releases: records.unread, action: action() });
        Ok(Examination { environment: self.environment.clone(), at: cx.clock().now(), findings, unread })
    }

    /// One run after the other, of which nothing stays but what is found: there may be ten thousand.
    async fn of_runs(
        &self,
        cx: &Context,
        runs: Vec<String>,
        (state, held): (Option<&EnvironmentState>, Option<&Held>),
    ) -> Result<Vec<Finding>> {
        let newest = runs.iter().max().cloned();
        let (mut found, mut needs_operator, mut endless, mut faults) = (Vec::new(), None, Vec::new(), Vec::new());
        for run in runs {
            cx.check(OPERATION)?;
            let is_newest = newest.as_ref() == Some(&run);
            let seen = self.read(run, (state, is_newest)).await?;
            let place = run_prefix(&self.environment, &seen.run);
            if seen.open {
                found.push(findings::open_run(&seen, place.clone(), (&self.commands, held)));
            }
            if seen.lacks_its_end() {
                endless.push(findings::without_end(&seen, place.clone()));
            }
            faults.extend(seen.chain.faults.iter().map(|fault| findings::fault(&seen, fault, &self.commands)));
            // Only of the last one: those before it were seen to, or this one could not have begun.
            needs_operator = findings::needs_operator(&seen, place);
        }
        found.extend(held.map(|held| held.finding(&self.environment, &self.commands)));
        Ok(found.into_iter().chain(needs_operator).chain(endless).chain(faults).collect())
    }
}

/// What a newer program wrote is among the records that cannot be read.
fn readable<T>(found: Result<Option<T>>) -> Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        found => found,
    }
}

async fn look_at(cx: &Context, backend: &Arc<dyn Inspect>, in_use: Option<&str>) -> Result<Vec<Finding>> {
    cx.check(OPERATION)?;
    match backend.leftovers(cx).await {
        Ok(leftovers) => {
            Ok(leftovers.into_iter().map(|leftover| findings::left_over(backend.as_ref(), leftover, in_use)).collect())
        }
        Err(error) => {
            cx.check(OPERATION)?;
            let record = ErrorRecord::from(&error);
            Ok(vec![Finding {
                severity: Severity::Problem,
                what: "backend that cannot be looked at".to_owned(),
                place: backend.name().to_string(),
                known: vec![record.message],
                action: record.advice.unwrap_or_default(),
                fixable: false,
                subject: Subject::Backend { backend: backend.name().clone() },
            }])
        }
    }
}
