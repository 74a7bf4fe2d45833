//! Builds an OCI image from files, without a daemon: a program, its assets, and a bill of materials from a lock file.
//! Run it twice: the second time nothing is done. Give it a program to put your own into an image.
//!
//! `cargo run --example build_image [PROGRAM]`
//!
//! With `--docker CONTEXT` a Docker Engine builds that folder by its `Dockerfile`, as `docker build` would; `--network none`
//! after it keeps its steps from the network.
//!
//! `cargo run --features docker --example build_image -- --docker CONTEXT [--network MODE]`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use ecolaura_deploy_core::{
    Context, Error, Result,
    backend::{ImageBuilder, ImageEntry, ImageSpec},
    local::image::LayoutBuilder,
    pipeline::{Pipeline, constant},
    steps::BuildImage,
    store::ObjectRunStore,
    vocabulary::Platform,
};
use ecolaura_deploy_examples::{exit_code, place::block_on, plan_and_run, runner, scratch};

/// Builds an image from files, of a script unless a program is named.
#[derive(Debug, Parser)]
#[command(name = "build_image")]
struct Options {
    /// Put this program into the image
    program: Option<PathBuf>,

    /// Have a Docker Engine build this folder by its Dockerfile (needs the feature `docker`)
    #[arg(long, value_name = "CONTEXT", conflicts_with = "program")]
    docker: Option<PathBuf>,

    /// With --docker: what its steps see of the network
    #[arg(long, value_name = "MODE", requires = "docker")]
    network: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    block_on("build_image", example(options))
}

#[expect(clippy::print_stdout, reason = "an example shows what it got")]
async fn example(options: Options) -> Result<ExitCode> {
    let dir = scratch("build_image");
    let (builder, spec) = match options.docker {
        Some(context) => docker(&dir, context, options.network)?,
        None => assembled(&dir, options.program)?,
    };

    let mut pipeline = Pipeline::new("build".parse()?, "dev".parse()?);
    let built = pipeline.add("build backend", BuildImage::new(builder, "backend"), constant(spec));

    let runner = runner(Arc::new(ObjectRunStore::local(dir.join("records"))?));
    let finished = plan_and_run(&Context::new("dev".parse()?), &runner, pipeline).await?;
    if let Some(image) = finished.output(&built) {
        println!("{} in the layout {}", image.digest, image.layout.display());
    }
    Ok(exit_code(&finished.result))
}

type Build = (Arc<dyn ImageBuilder>, ImageSpec);

/// From files, by this program alone.
fn assembled(dir: &Path, program: Option<PathBuf>) -> Result<Build> {
    let program = match program {
        Some(program) => program,
        None => write(dir.join("source/backend"), "#!/bin/sh\nexec cat /srv/assets/greeting.txt\n")?,
    };
    let greeting = write(dir.join("source/assets/greeting.txt"), "good morning\n")?;
    let assets = greeting.parent().unwrap_or(dir);

    // What changes seldom goes into the lower layer.
    let spec = ImageSpec::new(Platform::current())
        .layer([ImageEntry::new(assets, "/srv/assets")])
        .layer([ImageEntry::new(program, "/app/backend").mode(0o755)])
        .entrypoint(["/app/backend"])
        .label("org.opencontainers.image.title", "backend")
        .user("65532:65532")
        .port("8080/tcp")
        .lock_file(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));
    Ok((Arc::new(LayoutBuilder::new(dir.join("images"), "builder".parse()?)), spec))
}

/// From a build file, by a Docker Engine.
#[cfg(feature = "docker")]
fn docker(dir: &Path, context: PathBuf, network: Option<String>) -> Result<Build> {
    let builder = ecolaura_deploy_core::docker::DockerBuilder::new(dir.join("images"), "docker".parse()?);
    let builder = match network {
        Some(mode) => builder.network(mode),
        None => builder,
    };
    Ok((Arc::new(builder), ImageSpec::new(Platform::current()).context_dir(context)))
}

#[cfg(not(feature = "docker"))]
fn docker(_dir: &Path, _context: PathBuf, _network: Option<String>) -> Result<Build> {
    Err(Error::invalid("example.docker", "this was compiled without Docker").advice("give cargo `--features docker`"))
}

/// A file with this content, which is not touched if it has it.
fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    let same = std::fs::read_to_string(&path).is_ok_and(|present| present == text);
    let written = std::fs::create_dir_all(path.parent().unwrap_or(&path))
        .and_then(|()| if same { Ok(()) } else { std::fs::write(&path, text) });
    written.map_err(|error| Error::io("example.write", &path, error))?;
    Ok(path)
}
