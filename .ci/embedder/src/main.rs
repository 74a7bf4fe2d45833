//! Publishes a site and greets, twice: the second time only the greeting is left to do.

use std::sync::Arc;

use async_trait::async_trait;
use ecolaura_deploy_aws as _;
use ecolaura_deploy_core::{
    Context, Error, Result,
    cdn::SiteSource,
    local::cdn::DirectoryCdn,
    pipeline::{Pipeline, constant},
    run::Runner,
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    steps::PublishSite,
    store::ObjectRunStore,
};
use ecolaura_deploy_k8s as _;

#[derive(Debug)]
struct Greet;

#[async_trait]
impl Step for Greet {
    type Input = String;
    type Output = String;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "greet"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, _cx: &Context, _name: Planned<String>) -> Result<StepPlan<String>> {
        Ok(StepPlan::changing(Vec::new()))
    }

    async fn apply(&self, _cx: &Context, name: String) -> Result<Applied<String, NoUndo>> {
        Ok(Applied::new(format!("hello {name}")))
    }
}

/// Ships, and answers with the number of changes that the plan had.
async fn ship(dir: &std::path::Path) -> Result<usize> {
    let cdn = Arc::new(DirectoryCdn::new(dir.join("site"), "site".parse()?));
    let mut pipeline = Pipeline::new("embedder".parse()?, "dev".parse()?);
    pipeline.add("publish site", PublishSite::new(cdn, SiteSource::new(dir.join("source"))), constant(()));
    let greeting = pipeline.add("greet", Greet, constant("embedder".to_owned()));

    let cx = Context::new("dev".parse()?);
    let runner = Runner::new(Arc::new(ObjectRunStore::local(dir.join("records"))?));
    let plan = runner.plan(&cx, pipeline).await?;
    let changes = plan.summary().counts().values().sum();
    let finished = runner.run(&cx, plan).await?;
    assert_eq!(finished.output(&greeting).as_deref(), Some("hello embedder"), "{:?}", finished.result);
    Ok(changes)
}

#[tokio::main]
async fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).map(std::path::PathBuf::from);
    let dir = dir.ok_or_else(|| Error::invalid("embedder", "give a folder"))?;
    let page = dir.join("source/index.html");
    std::fs::create_dir_all(dir.join("source")).map_err(|error| Error::io("embedder", &dir, error))?;
    std::fs::write(&page, "<h1>Plants</h1>").map_err(|error| Error::io("embedder", &page, error))?;
    assert_eq!((ship(&dir).await?, ship(&dir).await?), (1, 0), "changes of the first and the second run");
    println!("an embedder built from the packaged crates shipped twice");
    Ok(())
}
