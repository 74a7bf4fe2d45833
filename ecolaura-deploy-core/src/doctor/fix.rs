//! Cleaning up what was found, as the only one at work.

use std::collections::BTreeSet;

use futures_util::future::select_all;

use super::{Doctor, Dry, Examination, Finding, Fixed, Subject};
use crate::{
    Context, Error, ErrorKind, ErrorRecord, Result,
    backend::Inspect,
    lock::Epoch,
    pipeline::Landing,
    vocabulary::{EnvironmentName, Name},
};

const OPERATION: &str = "doctor.fix";

/// What the doctor calls itself where runs have an id.
pub(super) const NAME: &str = "doctor";

impl Doctor {
    /// Cleans up the leftovers of `examination`; with [`Dry::Yes`] it only says which, and takes nothing. Idempotent.
    ///
    /// Environments of one run store share backends, so it takes the locks of all of them first, without waiting, and
    /// cleans under the fencing token of its own: whoever deploys meanwhile waits for it, or fails naming it. Each
    /// leftover is looked at again by its backend before it goes. What failed is in the answer.
    ///
    /// Fails with `Conflict` if an environment is held, naming by whom and since when, or if a run is open there; with
    /// `InvalidInput` if the examination is of another environment; with `Cancelled`, `Timeout` and the store's errors.
    ///
    /// # Cancellation
    ///
    /// The rest of the leftovers stay, and the locks are given back. A dropped future leaves them to whoever comes next,
    /// who sees that nobody holds them.
    pub async fn fix(&self, cx: &Context, examination: &Examination, dry: Dry) -> Result<Fixed> {
        if examination.environment != self.environment {
            let message = format!("this is what was found in {}, not in {}", examination.environment, self.environment);
            return Err(Error::invalid(OPERATION, message).advice("examine this environment first"));
        }
        cx.check(OPERATION)?;
        let findings: Vec<&Finding> = examination.findings.iter().filter(|finding| finding.fixable).collect();
        if dry == Dry::Yes || findings.is_empty() {
            return Ok(Fixed { would: findings.into_iter().cloned().collect(), ..Fixed::default() });
        }
        let mut held = Vec::new();
        let fixed = Box::pin(self.fix_alone(cx, &findings, &mut held)).await;
        for epoch in held {
            let state = epoch.state().clone();
            self.runner.release(epoch, state).await;
        }
        fixed
    }

    async fn fix_alone(&self, cx: &Context, findings: &[&Finding], held: &mut Vec<Epoch>) -> Result<Fixed> {
        if let Some(why) = self.in_use(cx, OPERATION).await? {
            return Err(conflict(&why));
        }
        for environment in self.environments().await? {
            cx.check(OPERATION)?;
            let epoch = self.runner.acquire(cx, &environment, NAME, Landing::Unnumbered).await.map_err(advise)?;
            let open = epoch.state().open.as_ref().map(|open| open.run.clone());
            held.push(epoch);
            if let Some(run) = open {
                return Err(conflict(&format!("run {run} of {environment} is open and may still need it")));
            }
        }
        let mut fixed = Fixed::default();
        for finding in findings.iter().copied().cloned() {
            cx.check(OPERATION)?;
            match self.fix_one(cx, &finding, held).await {
                Ok(()) => fixed.done.push(finding),
                Err(error) => fixed.failed.push((finding, ErrorRecord::from(&error))),
            }
        }
        Ok(fixed)
    }

    /// Every environment of the store, and this one even if it has no records yet.
    async fn environments(&self) -> Result<BTreeSet<EnvironmentName>> {
        let names = self.store.names("environments").await?;
        // What is not an environment's name was not made by a run.
        let found = names.into_iter().filter_map(|name| name.parse().ok());
        Ok(found.chain([self.environment.clone()]).collect())
    }

    async fn fix_one(&self, cx: &Context, finding: &Finding, held: &[Epoch]) -> Result<()> {
        let Subject::Leftover { backend, leftover } = &finding.subject else { return Ok(()) };
        let backend = self.backend(backend)?;
        let ours: BTreeSet<_> = held.iter().map(|epoch| epoch.environment().clone()).collect();
        if let Some(new) = self.environments().await?.difference(&ours).next() {
            return Err(conflict(&format!("the first run of {new} began meanwhile")));
        }
        for epoch in held {
            epoch.check().await?;
        }
        let own = held.iter().find(|epoch| epoch.environment() == &self.environment).map_or(0, Epoch::number);
        let cx = cx.clone().with_run(NAME, own);
        tokio::select! {
            biased;
            lost = lost(held) => lost,
            cleaned = backend.clean(&cx, leftover) => cleaned,
        }
    }

    fn backend(&self, name: &Name) -> Result<&dyn Inspect> {
        let found = self.backends.iter().find(|backend| backend.name() == name);
        found.map(AsRef::as_ref).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, OPERATION, format!("there is no backend `{name}` here"))
                .advice("fix with the doctor that examined")
        })
    }
}

/// Until one of them is not ours any more.
async fn lost(held: &[Epoch]) -> Result<()> {
    let ((), which, _) = select_all(held.iter().map(|epoch| Box::pin(epoch.lost().cancelled()))).await;
    held[which].check().await
}

fn conflict(why: &str) -> Error {
    advise(Error::new(ErrorKind::Conflict, OPERATION, format!("what is left over may be in use by now: {why}")))
}

fn advise(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Conflict => error.advice("nothing was cleaned up; try again once that is over"),
        _ => error,
    }
}
