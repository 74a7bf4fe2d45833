//! Cleaning up what was found.

use super::{Doctor, Dry, Examination, Finding, Fixed, Subject};
use crate::{Context, Error, ErrorKind, ErrorRecord, Result, backend::Leftover, vocabulary::Name};

const OPERATION: &str = "doctor.fix";

impl Doctor {
    /// Cleans up the leftovers of `examination`; with [`Dry::Yes`] it only says which. What became used or was cleaned
    /// meanwhile stays or is gone: each backend looks again. Idempotent. A cancel leaves the rest of them.
    ///
    /// What failed is in the answer. Fails with `InvalidInput` if the examination is of another environment, and with
    /// `Cancelled` or `Timeout`.
    pub async fn fix(&self, cx: &Context, examination: &Examination, dry: Dry) -> Result<Fixed> {
        if examination.environment != self.environment {
            let message = format!("this is what was found in {}, not in {}", examination.environment, self.environment);
            return Err(Error::invalid(OPERATION, message).advice("examine this environment first"));
        }
        let mut fixed = Fixed::default();
        for finding in examination.findings.iter().filter(|finding| finding.fixable) {
            cx.check(OPERATION)?;
            self.fix_one(cx, finding, dry, &mut fixed).await;
        }
        Ok(fixed)
    }

    async fn fix_one(&self, cx: &Context, finding: &Finding, dry: Dry, fixed: &mut Fixed) {
        let Subject::Leftover { backend, leftover } = &finding.subject else { return };
        if dry == Dry::Yes {
            return fixed.would.push(finding.clone());
        }
        match self.clean(cx, backend, leftover).await {
            Ok(()) => fixed.done.push(finding.clone()),
            Err(error) => fixed.failed.push((finding.clone(), ErrorRecord::from(&error))),
        }
    }

    async fn clean(&self, cx: &Context, name: &Name, leftover: &Leftover) -> Result<()> {
        let backend = self.backends.iter().find(|backend| backend.name() == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, OPERATION, format!("there is no backend `{name}` here"))
                .advice("fix with the doctor that examined")
        })?;
        backend.clean(cx, leftover).await
    }
}
