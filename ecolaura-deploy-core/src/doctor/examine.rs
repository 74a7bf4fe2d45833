//! Looking, without changing anything.

use std::sync::Arc;

use super::{
    Doctor, Examination, Finding, Severity, Subject, Unread, findings,
    held::{self, Held},
    runs::{Chosen, RunSeen},
};
use crate::{
    Context, ErrorKind, ErrorRecord, Result,
    backend::Inspect,
    store::{self, run_prefix},
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
        let runs = self.read(cx, OPERATION, (runs, state.as_ref())).await?;
        let records = self.check(cx, OPERATION).await?;
        let mut findings = self.of_runs(&runs, held.as_ref());
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

    fn of_runs(&self, runs: &[RunSeen], held: Option<&Held>) -> Vec<Finding> {
        let place = |seen: &RunSeen| run_prefix(&self.environment, &seen.run);
        let open = runs.iter().filter(|seen| seen.open);
        let mut found: Vec<_> =
            open.map(|seen| findings::open_run(seen, place(seen), (&self.commands, held))).collect();
        found.extend(held.map(|held| held.finding(&self.environment, &self.commands)));
        found.extend(runs.last().and_then(|seen| findings::needs_operator(seen, place(seen))));
        let endless = runs.iter().filter(|seen| seen.lacks_its_end());
        found.extend(endless.map(|seen| findings::without_end(seen, place(seen))));
        let faults = runs.iter().flat_map(|seen| seen.chain.faults.iter().map(move |fault| (seen, fault)));
        found.extend(faults.map(|(seen, fault)| findings::fault(seen, fault, &self.commands)));
        found
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
