//! Taking over the release that another environment runs.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Context, Error, ErrorKind, Result,
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    store::{RunStore, StoredReleases},
    vocabulary::{EnvironmentName, Release},
};

/// Hands on a release from another environment, which must still be the one that runs there: promotion moves the same
/// release and nothing else. Reads only.
///
/// Its input is the release that the pipeline was made for, so that what was planned is what is promoted. If the other
/// environment moved on meanwhile, planning fails with [`ErrorKind::StalePlan`] naming both.
#[derive(Debug, Clone)]
pub struct PromoteRelease {
    store: Arc<dyn RunStore>,
    from: EnvironmentName,
}

impl PromoteRelease {
    /// Promotes what `store` says that `from` runs.
    pub fn new(store: Arc<dyn RunStore>, from: EnvironmentName) -> Self {
        Self { store, from }
    }

    async fn check(&self, release: &Release) -> Result<()> {
        let live = StoredReleases::new(self.store.as_ref(), &self.from).last().await?;
        let found = match live {
            Some(live) if live == *release => return Ok(()),
            Some(live) => format!("runs {} of {}", live.sequence, live.source),
            None => "has no release".to_owned(),
        };
        let message =
            format!("{} of {} is to be promoted, and {} {found}", release.sequence, release.source, self.from);
        Err(Error::new(ErrorKind::StalePlan, "release.promote", message).advice("plan again"))
    }
}

#[async_trait]
impl Step for PromoteRelease {
    type Input = Release;
    type Output = Release;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "promote release"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, _cx: &Context, release: Planned<Release>) -> Result<StepPlan<Release>> {
        let Planned::Known(release) = release else { return Ok(StepPlan::gate(None)) };
        self.check(&release).await?;
        let name = format!("release of {}", self.from);
        let found = format!("{} of {}", release.sequence, release.source);
        Ok(StepPlan::unchanged(Vec::new(), release).precondition(name, found))
    }

    async fn apply(&self, _cx: &Context, release: Release) -> Result<Applied<Release, NoUndo>> {
        self.check(&release).await?;
        Ok(Applied::new(release))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{steps::RecordRelease, store::ObjectRunStore, vocabulary::ReleaseSequence};

    #[tokio::test]
    async fn only_the_release_that_runs_there_is_promoted() {
        let store = Arc::new(ObjectRunStore::memory());
        let (cx, dev) = (Context::new("staging".parse().unwrap()), "dev".parse().unwrap());
        let first = Release::new(ReleaseSequence(1), "a");
        let step = PromoteRelease::new(store.clone(), dev);
        let plan = |release: &Release| step.plan(&cx, Planned::Known(release.clone()));

        assert!(plan(&first).await.unwrap_err().report().contains("dev has no release"));
        let record = RecordRelease::new(store.clone());
        record.apply(&Context::new("dev".parse().unwrap()), first.clone()).await.unwrap();
        assert_eq!(plan(&first).await.unwrap().output, Some(first));
        let error = plan(&Release::new(ReleaseSequence(2), "b")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StalePlan);
        assert!(error.report().contains("dev runs r1 of a"), "{}", error.report());
    }
}
