//! Pushes an image to a registry on disk or to ECR, pins it by digest, and lets it pass only if its packages are not known
//! to be vulnerable. Run it twice: the second time nothing is done.
//!
//! `cargo run --example push_image`, and `… -- 0.1.44` to see it refused and the tag taken back.
//! `cargo run --features aws --example push_image -- --ecr`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use ecolaura_deploy_core::{
    Context, Error, Result,
    analysis::scan::SeverityPolicy,
    backend::{ImageEntry, ImageScanner, ImageSpec, Registry, Severity},
    local::{
        image::LayoutBuilder,
        registry::LayoutRegistry,
        scan::{ContentScanner, ScanPolicy},
    },
    pipeline::{Handle, Pipeline, constant},
    steps::{BuildImage, PushImage, ScanGate},
    store::ObjectRunStore,
    vocabulary::Platform,
};
use ecolaura_deploy_examples::{
    exit_code,
    place::{block_on, say},
    plan_and_run, runner, scratch,
};

const ADVISORY: &str = r#"{"id": "RUSTSEC-2020-0071", "summary": "Potential segfault in the time crate",
  "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
  "affected": [{"package": {"ecosystem": "crates.io", "name": "time"},
    "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "0.2.23"}]}]}]}"#;

/// Pushes an image, pins it by digest, and scans it.
#[derive(Debug, Parser)]
#[command(name = "push_image")]
struct Options {
    /// The version of `time` that the image says it has; 0.1.44 is refused
    #[arg(default_value = "0.3.36")]
    version: String,

    /// Push to ECR, and let ECR scan it (needs the feature `aws`)
    #[arg(long)]
    ecr: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    block_on("push_image", async {
        let cx = Context::new("dev".parse()?);
        let dir = scratch(if options.ecr { "push_image_ecr" } else { "push_image" });
        let builder = Arc::new(LayoutBuilder::new(dir.join("images"), "builder".parse()?));
        let mut pipeline = Pipeline::new("push".parse()?, "dev".parse()?);
        let There { registry, scanner, policy, declared } = there(&cx, &options, &dir, &mut pipeline).await?;

        let spec = contents(&dir, &options.version)?;
        let built = pipeline.add("build backend", BuildImage::new(builder, "backend"), constant(spec));
        let push = PushImage::new(registry, REPOSITORY.parse()?).tag("v1".parse()?);
        let mut push = pipeline.step("push backend", push, built);
        if let Some(declared) = &declared {
            push = push.after(declared);
        }
        let pinned = push.add();
        pipeline.add("scan backend", ScanGate::new(scanner, policy), pinned.clone());

        let runner = runner(Arc::new(ObjectRunStore::local(dir.join("records"))?));
        let finished = plan_and_run(&cx, &runner, pipeline).await?;
        if let Some(image) = finished.output(&pinned).filter(|_| finished.succeeded()) {
            say(&format!("deploy {image}"));
        }
        Ok(exit_code(&finished.result))
    })
}

const REPOSITORY: &str = "ecolaura/backend";

/// Where the image goes, and who looks at it there.
struct There {
    registry: Arc<dyn Registry>,
    scanner: Arc<dyn ImageScanner>,
    policy: SeverityPolicy,
    /// The step that makes sure of the repository.
    declared: Option<Handle<String>>,
}

async fn there(cx: &Context, options: &Options, dir: &Path, pipeline: &mut Pipeline) -> Result<There> {
    let on_disk = Arc::new(LayoutRegistry::new(dir.join("registry"), "registry".parse()?));
    if options.ecr {
        return in_ecr(cx, on_disk, pipeline).await;
    }
    write(dir.join("advisories/RUSTSEC-2020-0071.json"), ADVISORY)?;
    let scanner = Arc::new(ContentScanner::new(on_disk.clone(), ScanPolicy::new(dir.join("advisories"))));
    Ok(There { registry: on_disk, scanner, policy: SeverityPolicy::new(Severity::Medium), declared: None })
}

#[cfg(feature = "aws")]
async fn in_ecr(cx: &Context, on_disk: Arc<dyn Registry>, pipeline: &mut Pipeline) -> Result<There> {
    use ecolaura_deploy_aws::ecr::{EcrRepository, EcrScanner, Mutability, ecr_registry};
    use ecolaura_deploy_examples::aws::{Played, connect, is_played};

    let account = connect(cx, None).await?;
    let repository =
        EcrRepository::new(&account, REPOSITORY.parse()?).mutability(Mutability::Mutable).scan_on_push(true);
    let declared = pipeline.add("repository", repository, constant(()));
    let scanner = Arc::new(EcrScanner::new("ecr".parse()?, &account).starting());
    let played = is_played(&account);
    let registry: Arc<dyn Registry> = match played {
        true => Arc::new(Played::new(on_disk, &account)),
        false => Arc::new(ecr_registry(&account, cx, "registry".parse()?).await?),
    };
    // Servers that play AWS make a high finding up for every image.
    let policy = SeverityPolicy::new(if played { Severity::Critical } else { Severity::High });
    Ok(There { registry, scanner, policy, declared: Some(declared) })
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "an account is waited for")]
async fn in_ecr(_cx: &Context, _on_disk: Arc<dyn Registry>, _pipeline: &mut Pipeline) -> Result<There> {
    Err(ecolaura_deploy_examples::place::without("aws", "--ecr", "push_image"))
}

fn contents(dir: &Path, version: &str) -> Result<ImageSpec> {
    let lock = format!("version = 4\n\n[[package]]\nname = \"time\"\nversion = \"{version}\"\n");
    Ok(ImageSpec::new(Platform::current())
        .layer([ImageEntry::new(write(dir.join("backend"), "#!/bin/sh\n")?, "/app/backend").mode(0o755)])
        .entrypoint(["/app/backend"])
        .user("65532:65532")
        .lock_file(write(dir.join("Cargo.lock"), &lock)?))
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    let written = std::fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| std::fs::write(&path, text));
    written.map_err(|error| Error::io("example.write", &path, error))?;
    Ok(path)
}
