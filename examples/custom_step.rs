//! A step of your own that can be undone: it writes a file, and a later failure brings the old content back.
//!
//! `cargo run --example custom_step`

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    pipeline::{Pipeline, constant},
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Planned, Step, StepPlan, UndoData, Undoer},
    steps,
    store::ObjectRunStore,
};
use ecolaura_deploy_examples::{exit_code, place::block_on, plan_and_run, runner, scratch};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone)]
struct WriteBanner(PathBuf);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct OldBanner(Option<String>);

impl UndoData for OldBanner {
    const KIND: &'static str = "banner";
}

#[async_trait]
impl Undoer<OldBanner> for WriteBanner {
    fn target(&self) -> String {
        self.0.display().to_string()
    }

    fn describe(&self, old: &OldBanner) -> String {
        format!("put back {:?} in {}", old.0, self.0.display())
    }

    async fn undo(&self, _cx: &Context, old: OldBanner) -> Result<()> {
        let done = match old.0 {
            Some(text) => std::fs::write(&self.0, text),
            None => std::fs::remove_file(&self.0),
        };
        done.map_err(|error| Error::io("banner.undo", &self.0, error))
    }
}

#[async_trait]
impl Step for WriteBanner {
    type Input = String;
    type Output = ();
    type Undo = OldBanner;

    fn kind(&self) -> &'static str {
        "write banner"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, _cx: &Context, _text: Planned<String>) -> Result<StepPlan<()>> {
        Ok(StepPlan::changing(vec![Change::new(World::File, self.target(), Action::Update, "banner of this release")]))
    }

    async fn prepare(&self, _cx: &Context, _text: &String) -> Result<Option<OldBanner>> {
        Ok(Some(OldBanner(std::fs::read_to_string(&self.0).ok())))
    }

    async fn apply(&self, _cx: &Context, text: String) -> Result<Applied<(), OldBanner>> {
        std::fs::write(&self.0, text).map_err(|error| Error::io("banner.write", &self.0, error))?;
        Ok(Applied::new(()))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<OldBanner>>> {
        Some(Arc::new(self.clone()))
    }
}

fn main() -> ExitCode {
    block_on("custom_step", example())
}

async fn example() -> Result<ExitCode> {
    let dir = scratch("custom_step");
    std::fs::create_dir_all(&dir).map_err(|error| Error::io("example.start", &dir, error))?;
    let mut pipeline = Pipeline::new("banner".parse()?, "dev".parse()?);
    let written = pipeline.add("banner", WriteBanner(dir.join("banner.txt")), constant("release 2".to_owned()));
    let refuse = |_cx, ()| async { Err::<(), _>(Error::new(ErrorKind::GateRefused, "check", "nobody liked it")) };
    pipeline.add("check", steps::call("check", refuse), written);

    let runner = runner(Arc::new(ObjectRunStore::memory()));
    let finished = plan_and_run(&Context::new("dev".parse()?), &runner, pipeline).await?;
    assert!(!finished.succeeded(), "the check refuses, and the banner is put back");
    let _ = exit_code(&finished.result);
    Ok(ExitCode::SUCCESS)
}
