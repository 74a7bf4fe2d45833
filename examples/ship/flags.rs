//! The feature flags of an environment: a file in flagd's format that begins as the sample's and is switched by releases.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, Result,
    backend::{FeatureFlags, FlagChange, FlagState},
    local::flags::FlagFile,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    vocabulary::Name,
};
use serde_json::Value;

/// Flags in a file; those that are not there yet are as the sample defines them.
#[derive(Debug, Clone)]
pub struct SampleFlags {
    live: FlagFile,
    defined: FlagFile,
    path: PathBuf,
    definitions: PathBuf,
}

impl SampleFlags {
    /// The flags in `path`, as `definitions` define them.
    pub fn new(name: Name, path: PathBuf, definitions: PathBuf) -> Self {
        Self { live: FlagFile::new(name.clone(), &path), defined: FlagFile::new(name, &definitions), path, definitions }
    }

    /// The flags that are defined and not in the file yet, and the file's content with them.
    fn missing(&self) -> Result<(Vec<String>, Value)> {
        let defined = read(&self.definitions)?;
        let mut live = if self.path.exists() { read(&self.path)? } else { defined.clone() };
        let flags = |file: &Value| file["flags"].as_object().cloned().unwrap_or_default();
        let there = if self.path.exists() { flags(&live) } else { serde_json::Map::new() };
        let new: Vec<_> = flags(&defined).into_iter().filter(|(name, _)| !there.contains_key(name)).collect();
        for (name, definition) in &new {
            live["flags"][name] = definition.clone();
        }
        Ok((new.into_iter().map(|(name, _)| name).collect(), live))
    }
}

fn read(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("flags.read", path, error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid("flags.read", format!("`{}`: {error}", path.display())).with_source(error))
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
        let (new, _) = self.missing()?;
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

    async fn plan(&self, _cx: &Context, _input: Planned<()>) -> Result<StepPlan<()>> {
        let (new, _) = self.0.missing()?;
        if new.is_empty() {
            return Ok(StepPlan::unchanged(vec![Change::unchanged(World::Flag, "definitions")], ()));
        }
        let change = |name: String| Change::new(World::Flag, format!("definition of {name}"), Action::Create, "new");
        Ok(StepPlan::changing(new.into_iter().map(change).collect()))
    }

    async fn apply(&self, _cx: &Context, _input: ()) -> Result<Applied<(), NoUndo>> {
        let (_, file) = self.0.missing()?;
        let failed = |error| Error::io("flags.define", &self.0.path, error);
        let scratch = self.0.path.with_extension("new");
        std::fs::create_dir_all(self.0.path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        std::fs::write(&scratch, format!("{file:#}\n")).map_err(failed)?;
        std::fs::rename(&scratch, &self.0.path).map_err(failed)?;
        Ok(Applied::new(()))
    }
}
