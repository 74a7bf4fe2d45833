//! Publishes a static site to a directory: assets first, pages last, only what changed is sent and invalidated.
//! Run it twice: the second time nothing is done. Give it a folder to publish your own.
//!
//! `cargo run --example publish_frontend [FOLDER]`

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Error, Result,
    cdn::SiteSource,
    local::cdn::DirectoryCdn,
    pipeline::{Pipeline, constant},
    steps::PublishSite,
    store::ObjectRunStore,
};
use ecolaura_deploy_examples::{exit_code, plan_and_run, runner, scratch};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let dir = scratch("publish_frontend");
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => sample(&dir.join("source"))?,
    };
    let cdn = Arc::new(DirectoryCdn::new(dir.join("site"), "site".parse()?));

    let mut pipeline = Pipeline::new("frontend".parse()?, "dev".parse()?);
    pipeline.add("publish site", PublishSite::new(cdn, SiteSource::new(folder)), constant(()));

    let runner = runner(Arc::new(ObjectRunStore::local(dir.join("records"))?));
    let finished = plan_and_run(&Context::new("dev".parse()?), &runner, pipeline).await?;
    Ok(exit_code(&finished.result))
}

/// A site of one page and one asset.
fn sample(dir: &std::path::Path) -> Result<PathBuf> {
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(dir))
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| Error::io("example.sample", &path, error))
    };
    write("assets/app.5f2c9a1e.js", "console.log('hello')")?;
    write("index.html", "<!doctype html><script type=module src=/assets/app.5f2c9a1e.js></script><h1>Plants</h1>")?;
    Ok(dir.to_owned())
}
