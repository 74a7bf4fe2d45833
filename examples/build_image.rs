//! Builds an OCI image from files, without a daemon: a program, its assets, and a bill of materials from a lock file.
//! Run it twice: the second time nothing is done. Give it a program to put your own into an image.
//!
//! `cargo run --example build_image [PROGRAM]`

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Error, Result,
    backend::{ImageEntry, ImageSpec},
    local::image::LayoutBuilder,
    pipeline::{Pipeline, constant},
    steps::BuildImage,
    store::ObjectRunStore,
    vocabulary::Platform,
};
use ecolaura_deploy_examples::{exit_code, plan_and_run, runner, scratch};

#[expect(clippy::print_stdout, reason = "an example shows what it got")]
#[tokio::main]
async fn main() -> Result<ExitCode> {
    let dir = scratch("build_image");
    let program = match std::env::args_os().nth(1) {
        Some(program) => PathBuf::from(program),
        None => write(dir.join("source/backend"), "#!/bin/sh\nexec cat /srv/assets/greeting.txt\n")?,
    };
    let greeting = write(dir.join("source/assets/greeting.txt"), "good morning\n")?;
    let assets = greeting.parent().unwrap_or(&dir);

    // What changes seldom goes into the lower layer.
    let spec = ImageSpec::new(Platform::current())
        .layer([ImageEntry::new(assets, "/srv/assets")])
        .layer([ImageEntry::new(program, "/app/backend").mode(0o755)])
        .entrypoint(["/app/backend"])
        .label("org.opencontainers.image.title", "backend")
        .user("65532:65532")
        .port("8080/tcp")
        .lock_file(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    let builder = Arc::new(LayoutBuilder::new(dir.join("images"), "builder".parse()?));

    let mut pipeline = Pipeline::new("build".parse()?, "dev".parse()?);
    let built = pipeline.add("build backend", BuildImage::new(builder, "backend"), constant(spec));

    let runner = runner(Arc::new(ObjectRunStore::local(dir.join("records"))?));
    let finished = plan_and_run(&Context::new("dev".parse()?), &runner, pipeline).await?;
    if let Some(image) = finished.output(&built) {
        println!("{} in the layout {}", image.digest, image.layout.display());
    }
    Ok(exit_code(&finished.result))
}

/// A file with this content, which is not touched if it has it.
fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    let same = std::fs::read_to_string(&path).is_ok_and(|present| present == text);
    let written = std::fs::create_dir_all(path.parent().unwrap_or(&path))
        .and_then(|()| if same { Ok(()) } else { std::fs::write(&path, text) });
    written.map_err(|error| Error::io("example.write", &path, error))?;
    Ok(path)
}
