//! One release through two environments: staging takes over what dev runs, the same digests and nothing else.
//!
//! `cargo run --example promote`

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Result,
    pipeline::{Pipeline, constant},
    run::RunResult,
    steps::{PromoteRelease, RecordRelease, TagImage},
    store::{ObjectRunStore, RunStore, StoredReleases},
    vocabulary::{PinnedImage, Release, ReleaseSequence},
};
use ecolaura_deploy_examples::{place::block_on, plan_and_run, runner, tiny};

fn main() -> ExitCode {
    block_on("promote", example())
}

async fn example() -> Result<ExitCode> {
    let sandbox = tiny::Sandbox::new("promote")?;
    let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::memory());
    let runner = runner(Arc::clone(&store));

    let dev = Context::new("dev".parse()?);
    let image = sandbox.image(&dev, "backend", "release 1").await?;
    let mut release = Release::new(ReleaseSequence(1), "commit 5f2c9a1");
    release.images.insert("backend".parse()?, image.clone());
    let mut pipeline = Pipeline::new("backend".parse()?, "dev".parse()?);
    pipeline.add("record", RecordRelease::new(Arc::clone(&store)), constant(release));
    assert_eq!(plan_and_run(&dev, &runner, pipeline).await?.result, RunResult::Succeeded);

    let staging = Context::new("staging".parse()?);
    let from = "dev".parse()?;
    let Some(release) = StoredReleases::new(store.as_ref(), &from).last().await? else { return Ok(ExitCode::FAILURE) };
    let mut pipeline = Pipeline::new("backend".parse()?, "staging".parse()?);
    let promoted = pipeline.add("promote", PromoteRelease::new(Arc::clone(&store), from), constant(release));
    let tag = TagImage::new(Arc::clone(&sandbox.registry), "tiny/backend".parse()?, "staging".parse()?);
    pipeline.add("tag", tag, promoted.map(|release| only(&release)));
    pipeline.add("record", RecordRelease::new(Arc::clone(&store)), promoted);
    assert_eq!(plan_and_run(&staging, &runner, pipeline).await?.result, RunResult::Succeeded);

    let tagged = sandbox.registry.resolve(&staging, &"tiny/backend".parse()?, &"staging".parse()?).await?;
    assert_eq!(tagged, Some(image), "nothing was built again");
    Ok(ExitCode::SUCCESS)
}

/// The one image of a release.
fn only(release: &Release) -> PinnedImage {
    let image = release.images.values().next();
    image.map_or_else(|| unreachable!("it was put in above"), Clone::clone)
}
