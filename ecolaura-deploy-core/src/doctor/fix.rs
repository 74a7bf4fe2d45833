//! Cleaning up what was found.

use super::{Doctor, Dry, Examination, Finding, Fixed, Subject};
use crate::{Context, Error, ErrorKind, ErrorRecord, Result, backend::Leftover, vocabulary::Name};

const OPERATION: &str = "doctor.fix";

impl Doctor {
    /// Cleans up the leftovers of `examination`; with [`Dry::Yes`] it only says which. What came into use
    /// meanwhile stays: before each one, the environments and the backend are looked at again. Idempotent. A cancel leaves the rest of them.
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
            match dry {
                Dry::Yes => fixed.would.push(finding.clone()),
                Dry::No => match self.fix_one(cx, finding).await {
                    Ok(()) => fixed.done.push(finding.clone()),
                    Err(error) => fixed.failed.push((finding.clone(), ErrorRecord::from(&error))),
                },
            }
        }
        Ok(fixed)
    }

    async fn fix_one(&self, cx: &Context, finding: &Finding) -> Result<()> {
        let Subject::Leftover { backend, leftover } = &finding.subject else { return Ok(()) };
        if let Some(why) = self.in_use(cx, OPERATION).await? {
            let message = format!("`{}` may be in use by now: {why}", leftover.object);
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message).advice("try again once that run is over"));
        }
        self.clean(cx, backend, leftover).await
    }

    async fn clean(&self, cx: &Context, name: &Name, leftover: &Leftover) -> Result<()> {
        let backend = self.backends.iter().find(|backend| backend.name() == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, OPERATION, format!("there is no backend `{name}` here"))
                .advice("fix with the doctor that examined")
        })?;
        backend.clean(cx, leftover).await
    }
}
