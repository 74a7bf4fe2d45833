//! Looking, without changing anything.

use std::sync::Arc;

use super::{Doctor, Examination, Finding, Severity, Subject, findings, runs};
use crate::{Context, ErrorRecord, Result, backend::Inspect, store::run_prefix};

const OPERATION: &str = "doctor.examine";

impl Doctor {
    /// Looks at everything. Reads only, and reads every record.
    ///
    /// A damaged record and a backend that cannot be looked at are findings, not errors. Fails if the run store cannot
    /// be read, and with `Cancelled` or `Timeout`.
    pub async fn examine(&self, cx: &Context) -> Result<Examination> {
        cx.check(OPERATION)?;
        let mut findings = self.runs(cx).await?;
        let in_use = self.in_use(cx, OPERATION).await?;
        for backend in &self.backends {
            findings.extend(look_at(cx, backend, in_use.as_deref()).await?);
        }
        Ok(Examination { environment: self.environment.clone(), at: cx.clock().now(), findings })
    }

    async fn runs(&self, cx: &Context) -> Result<Vec<Finding>> {
        let runs = runs::read(cx, OPERATION, self.store.as_ref(), &self.environment).await?;
        let place = |run: &str| run_prefix(&self.environment, run);
        let open = runs.iter().filter(|seen| seen.is_open());
        let mut found: Vec<_> = open.map(|seen| findings::open_run(seen, place(&seen.run), &self.calls)).collect();
        found.extend(runs.last().and_then(|seen| findings::needs_operator(seen, place(&seen.run))));
        found.extend(runs.iter().flat_map(|seen| seen.faults.iter().map(move |fault| findings::fault(seen, fault))));
        Ok(found)
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
