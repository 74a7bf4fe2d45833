//! Writing down what an environment runs, as the last step of a release.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Error, ErrorKind, Result,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Planned, Step, StepPlan, UndoData, Undoer},
    store::{Created, RunStore, StoredReleases},
    vocabulary::Release,
};

/// The record that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordUndo {
    key: String,
}

impl UndoData for RecordUndo {
    const KIND: &'static str = "release record";
}

#[derive(Debug)]
struct Forget(Arc<dyn RunStore>);

#[async_trait]
impl Undoer<RecordUndo> for Forget {
    fn target(&self) -> String {
        "run-store".to_owned()
    }

    fn describe(&self, undo: &RecordUndo) -> String {
        format!("remove the release record {}", undo.key)
    }

    async fn undo(&self, _cx: &Context, undo: RecordUndo) -> Result<()> {
        self.0.remove(&undo.key).await
    }
}

/// Records a release in the environment's history; the newest record is what the environment runs.
#[derive(Debug, Clone)]
pub struct RecordRelease {
    store: Arc<dyn RunStore>,
}

impl RecordRelease {
    /// Records in `store`.
    pub fn new(store: Arc<dyn RunStore>) -> Self {
        Self { store }
    }

    async fn last(&self, cx: &Context) -> Result<Option<(String, Release)>> {
        Ok(StoredReleases::new(self.store.as_ref(), cx.environment()).all().await?.pop())
    }

    async fn next_key(&self, cx: &Context) -> Result<String> {
        let last = self.last(cx).await?;
        let number = last.and_then(|(key, _)| key.rsplit('/').next()?.parse::<u64>().ok()).map_or(1, |last| last + 1);
        Ok(format!("environments/{}/releases/{number:08}", cx.environment()))
    }
}

#[async_trait]
impl Step for RecordRelease {
    type Input = Release;
    type Output = Release;
    type Undo = RecordUndo;

    fn kind(&self) -> &'static str {
        "record release"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Keyed
    }

    async fn plan(&self, cx: &Context, release: Planned<Release>) -> Result<StepPlan<Release>> {
        let object = format!("release of {}", cx.environment());
        let last = self.last(cx).await?.map(|(_, release)| release);
        let found = last.as_ref().map_or_else(|| "none".to_owned(), |release| release.sequence.to_string());
        let plan = match (release, last) {
            (Planned::Known(new), Some(old)) if new.same_content(&old) => {
                StepPlan::unchanged(vec![Change::unchanged(World::Record, &object)], old)
            }
            (Planned::Known(new), _) => {
                let change = Change::new(World::Record, &object, Action::Create, format!("{} is new", new.sequence));
                StepPlan::changing(vec![change])
            }
            (Planned::After(step), _) => {
                let reason = format!("known after `{step}`");
                StepPlan::changing(vec![Change::new(World::Record, &object, Action::Create, reason)])
            }
        };
        Ok(plan.precondition(object, found))
    }

    async fn prepare(&self, cx: &Context, _release: &Release) -> Result<Option<RecordUndo>> {
        Ok(Some(RecordUndo { key: self.next_key(cx).await? }))
    }

    async fn apply(&self, cx: &Context, release: Release) -> Result<Applied<Release, RecordUndo>> {
        let key = self.next_key(cx).await?;
        let body = crate::context::to_json("release.record", &release)?.to_string();
        match self.store.create(&key, body.into()).await? {
            Created::Yes => Ok(Applied::new(release).undo(RecordUndo { key })),
            Created::Exists => {
                let message = format!("another run recorded `{key}` meanwhile");
                Err(Error::new(ErrorKind::Conflict, "release.record", message).advice("plan again"))
            }
        }
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<RecordUndo>>> {
        Some(Arc::new(Forget(Arc::clone(&self.store))))
    }
}
