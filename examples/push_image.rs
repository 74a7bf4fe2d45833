//! Pushes an image to a registry on disk, pins it by digest, and lets it pass only if its packages are not known to be
//! vulnerable. Run it twice: the second time nothing is done.
//!
//! `cargo run --example push_image [VERSION OF time]`, and `… 0.1.44` to see it refused and the tag taken back.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Error, Result,
    analysis::scan::SeverityPolicy,
    backend::{ImageEntry, ImageSpec, Severity},
    local::{
        image::LayoutBuilder,
        registry::LayoutRegistry,
        scan::{ContentScanner, ScanPolicy},
    },
    pipeline::{Pipeline, constant},
    steps::{BuildImage, PushImage, ScanGate},
    store::ObjectRunStore,
    vocabulary::Platform,
};
use ecolaura_deploy_examples::{exit_code, plan_and_run, runner, scratch};

const ADVISORY: &str = r#"{"id": "RUSTSEC-2020-0071", "summary": "Potential segfault in the time crate",
  "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
  "affected": [{"package": {"ecosystem": "crates.io", "name": "time"},
    "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "0.2.23"}]}]}]}"#;

#[expect(clippy::print_stdout, reason = "an example shows what it got")]
#[tokio::main]
async fn main() -> Result<ExitCode> {
    let dir = scratch("push_image");
    let version = std::env::args().nth(1).unwrap_or_else(|| "0.3.36".to_owned());
    let lock = format!("version = 4\n\n[[package]]\nname = \"time\"\nversion = \"{version}\"\n");
    write(dir.join("advisories/RUSTSEC-2020-0071.json"), ADVISORY)?;
    let spec = ImageSpec::new(Platform::current())
        .layer([ImageEntry::new(write(dir.join("backend"), "#!/bin/sh\n")?, "/app/backend").mode(0o755)])
        .entrypoint(["/app/backend"])
        .user("65532:65532")
        .lock_file(write(dir.join("Cargo.lock"), &lock)?);

    let builder = Arc::new(LayoutBuilder::new(dir.join("images"), "builder".parse()?));
    let registry = Arc::new(LayoutRegistry::new(dir.join("registry"), "registry".parse()?));
    let scanner = Arc::new(ContentScanner::new(registry.clone(), ScanPolicy::new(dir.join("advisories"))));

    let mut pipeline = Pipeline::new("push".parse()?, "dev".parse()?);
    let built = pipeline.add("build backend", BuildImage::new(builder, "backend"), constant(spec));
    let push = PushImage::new(registry, "ecolaura/backend".parse()?).tag("v1".parse()?);
    let pinned = pipeline.add("push backend", push, built);
    pipeline.add("scan backend", ScanGate::new(scanner, SeverityPolicy::new(Severity::Medium)), pinned.clone());

    let runner = runner(Arc::new(ObjectRunStore::local(dir.join("records"))?));
    let finished = plan_and_run(&Context::new("dev".parse()?), &runner, pipeline).await?;
    if let Some(image) = finished.output(&pinned).filter(|_| finished.succeeded()) {
        println!("deploy {image}");
    }
    Ok(exit_code(&finished.result))
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    let written = std::fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| std::fs::write(&path, text));
    written.map_err(|error| Error::io("example.write", &path, error))?;
    Ok(path)
}
