//! The feature flags of an environment: a file in flagd's format that begins as the sample's and is switched by releases.

use std::path::PathBuf;

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Result,
    backend::{FeatureFlags, FlagChange, FlagState},
    local::flags::FlagFile,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    vocabulary::Name,
};

/// Flags in a file; those that are not there yet are as the sample defines them.
#[derive(Debug, Clone)]
pub struct SampleFlags {
    live: FlagFile,
    defined: FlagFile,
    definitions: PathBuf,
}

impl SampleFlags {
    /// The flags in `path`, as `definitions` define them.
    pub fn new(name: Name, path: PathBuf, definitions: PathBuf) -> Self {
        Self { live: FlagFile::new(name.clone(), path), defined: FlagFile::new(name, &definitions), definitions }
    }
}

#[async_trait]
impl FeatureFlags for SampleFlags {
    fn name(&self) -> &Name {
        self.live.name()
    }

    fn fences(&self) -> bool {
        self.live.fences()
    }

    async fn get(&self, cx: &Context, flag: &str) -> Result<FlagState> {
        let new = self.live.undefined(cx, &self.definitions).await?;
        let defined = new.iter().any(|name| name == flag);
        if defined { self.defined.get(cx, flag).await } else { self.live.get(cx, flag).await }
    }

    async fn set(&self, cx: &Context, change: &FlagChange) -> Result<()> {
        self.live.set(cx, change).await
    }
}

/// Adds the sample's flags that the environment does not have yet, as they are defined. They stay when a run is
/// undone: nobody asks for them.
#[derive(Debug, Clone)]
pub struct DefineFlags(pub SampleFlags);

#[async_trait]
impl Step for DefineFlags {
    type Input = ();
    type Output = ();
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "define flags"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, _input: Planned<()>) -> Result<StepPlan<()>> {
        let new = self.0.live.undefined(cx, &self.0.definitions).await?;
        if new.is_empty() {
            return Ok(StepPlan::unchanged(vec![Change::unchanged(World::Flag, "definitions")], ()));
        }
        let change = |name: String| Change::new(World::Flag, format!("definition of {name}"), Action::Create, "new");
        Ok(StepPlan::changing(new.into_iter().map(change).collect()))
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<(), NoUndo>> {
        self.0.live.define(cx, &self.0.definitions).await?;
        Ok(Applied::new(()))
    }
}
