//! Writing down what an environment runs, as the last step of a release.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Error, ErrorKind, Result, fence,
    pipeline::Landing,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Planned, Step, StepPlan, UndoData, Undoer},
    store::{NewRelease, RunStore, StoredRelease, StoredReleases},
    vocabulary::Release,
};

/// The record that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordUndo {
    number: u64,
    /// The key of the effect that wrote it: what another wrote in its place stays.
    by: String,
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
        format!("remove the release record {}", undo.number)
    }

    async fn undo(&self, cx: &Context, undo: RecordUndo) -> Result<()> {
        let releases = StoredReleases::new(self.0.as_ref(), cx.environment());
        fence::admit("release.forget", cx, releases.newest().await?.map_or(0, |newest| newest.epoch))?;
        match releases.get(undo.number).await? {
            Some(record) if record.by == undo.by => self.0.remove(&releases.key(undo.number)).await,
            _ => Ok(()),
        }
    }
}

/// Records a release in the environment's history; the newest record is what the environment runs.
///
/// A release that is older than the live one is refused with [`ErrorKind::Conflict`], unless the step was told that it
/// goes back and the release was live before.
#[derive(Debug, Clone)]
pub struct RecordRelease {
    store: Arc<dyn RunStore>,
    back: bool,
}

impl RecordRelease {
    /// Records in `store`.
    pub fn new(store: Arc<dyn RunStore>) -> Self {
        Self { store, back: false }
    }

    /// The same for a way back: an older release may follow if it was live before.
    pub fn going_back(mut self) -> Self {
        self.back = true;
        self
    }

    fn releases<'a>(&'a self, cx: &'a Context) -> StoredReleases<'a> {
        StoredReleases::new(self.store.as_ref(), cx.environment())
    }

    /// Whether `release` may follow `live`.
    async fn admit(&self, cx: &Context, release: &Release, live: Option<&Release>) -> Result<()> {
        let Some(live) = live.filter(|live| release.sequence < live.sequence) else { return Ok(()) };
        if !self.back {
            return Landing::Forward(release.sequence).check(Some(live.sequence));
        }
        if self.releases(cx).was_live(release).await? {
            return Ok(());
        }
        let message =
            format!("release {} was never live in {}: there is no way back to it", release.sequence, cx.environment());
        Err(Error::new(ErrorKind::Conflict, "release.order", message)
            .advice("go back to one of the releases that were live before, or make a new one"))
    }
}

fn undo_of(cx: &Context, number: u64) -> RecordUndo {
    RecordUndo { number, by: cx.effect_key() }
}

/// Whether `record` is what this effect wrote in an earlier attempt.
fn is_own(cx: &Context, record: &StoredRelease, release: &Release) -> bool {
    cx.run_id() != "none" && record.by == cx.effect_key() && record.release == *release
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
        let last = self.releases(cx).last().await?;
        if let Planned::Known(release) = &release {
            self.admit(cx, release, last.as_ref()).await?;
        }
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

    async fn prepare(&self, cx: &Context, release: &Release) -> Result<Option<RecordUndo>> {
        let newest = self.releases(cx).newest().await?;
        let own = newest.as_ref().filter(|newest| is_own(cx, newest, release)).map(|own| own.number);
        let number = own.unwrap_or_else(|| newest.map_or(1, |newest| newest.number + 1));
        Ok(Some(undo_of(cx, number)))
    }

    async fn apply(&self, cx: &Context, release: Release) -> Result<Applied<Release, RecordUndo>> {
        let releases = self.releases(cx);
        let newest = releases.newest().await?;
        if let Some(own) = newest.as_ref().filter(|newest| is_own(cx, newest, &release)) {
            return Ok(Applied::new(release).undo(undo_of(cx, own.number)));
        }
        let epoch = fence::admit("release.record", cx, newest.as_ref().map_or(0, |newest| newest.epoch))?;
        self.admit(cx, &release, newest.as_ref().map(|newest| &newest.release)).await?;
        let new = NewRelease { release: &release, by: cx.effect_key(), epoch };
        let number = releases.append(newest, new).await?;
        Ok(Applied::new(release).undo(undo_of(cx, number)))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<RecordUndo>>> {
        Some(Arc::new(Forget(Arc::clone(&self.store))))
    }
}

#[cfg(test)]
mod tests;
