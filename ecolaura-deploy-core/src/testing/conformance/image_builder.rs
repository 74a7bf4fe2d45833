//! The suite of [`ImageBuilder`].
#![expect(clippy::panic, reason = "a suite fails by panicking, as tests do")]

use std::{any::Any, path::PathBuf, sync::Arc};

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use super::runner;
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{ImageBuilder, ImageEntry, ImageSpec, Registry},
    cdn::scratch::Scratch,
    vocabulary::{BuiltImage, Digest, EnvironmentName, Fingerprint, PinnedImage, Platform},
};

/// A fresh builder, a registry that takes its images, and whatever must live as long as they.
#[derive(Debug)]
pub struct Fixture {
    /// The backend.
    pub builder: Arc<dyn ImageBuilder>,
    /// Where its images can be pushed, so that they can be looked into.
    pub registry: Arc<dyn Registry>,
    /// Dropped after the case.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl Fixture {
    /// `builder` and `registry` with `guard` beside them.
    pub fn new(builder: Arc<dyn ImageBuilder>, registry: Arc<dyn Registry>, guard: impl Any + Send + Sync) -> Self {
        Self { builder, registry, guard: Box::new(guard) }
    }
}

/// Runs every case, each on a fresh builder of `make`, and panics with the names of those that failed and why.
///
/// # Panics
/// If a case fails.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Fixture>,
{
    runner::run("image builder", CASES, async || Bench::new(make().await)).await;
}

const CASES: &[(&str, runner::Case<Bench>)] = runner::cases![
    the_same_inputs_give_the_same_image,
    a_copy_elsewhere_gives_the_same_image,
    a_changed_file_is_named_and_gives_another_image,
    a_new_file_gives_another_fingerprint,
    every_field_counts,
    a_fingerprint_builds_nothing,
    what_was_built_exists,
    the_configuration_is_what_was_asked_for,
    a_bill_is_attached_if_there_are_lock_files,
    a_missing_file_is_named,
    a_missing_lock_file_is_named,
    bad_fields_are_named,
    all_problems_are_told_at_once,
    building_at_the_same_time_is_building_once,
    a_cancelled_build_leaves_no_image,
];

struct Bench {
    builder: Arc<dyn ImageBuilder>,
    registry: Arc<dyn Registry>,
    _guard: Box<dyn Any + Send + Sync>,
    cx: Context,
    files: Scratch,
}

impl Bench {
    fn new(Fixture { builder, registry, guard }: Fixture) -> Result<Self> {
        let files = Scratch::new().map_err(|error| Error::io("conformance.start", std::env::temp_dir(), error))?;
        let cx = Context::new(EnvironmentName::new("test")?);
        Ok(Self { builder, registry, _guard: guard, cx, files })
    }

    fn write(&self, path: &str, content: &str) -> Result<PathBuf> {
        let path = self.files.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(self.files.path()))
            .and_then(|()| std::fs::write(&path, content))
            .map_err(|error| Error::io("conformance.write", &path, error))?;
        Ok(path)
    }

    /// An image of a program and a folder, whose files are below `top`.
    fn spec(&self, top: &str) -> Result<ImageSpec> {
        let program = self.write(&format!("{top}/bin/backend"), "the program")?;
        self.write(&format!("{top}/assets/a.txt"), "a")?;
        self.write(&format!("{top}/assets/deep/b.txt"), "b")?;
        let assets = self.files.path().join(top).join("assets");
        Ok(ImageSpec::new(Platform::new("linux", "amd64"))
            .layer([ImageEntry::new(assets, "/srv/assets")])
            .layer([ImageEntry::new(program, "/app/backend").mode(0o755)])
            .entrypoint(["/app/backend", "--serve"])
            .env("MODE", "test")
            .label("org.opencontainers.image.title", "backend")
            .user("65532:65532")
            .port("8080/tcp"))
    }

    fn lock(&self) -> Result<PathBuf> {
        self.write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\n")
    }

    async fn build(&self, spec: &ImageSpec) -> Result<BuiltImage> {
        self.builder.build(&self.cx, spec).await
    }

    async fn fingerprint(&self, spec: &ImageSpec) -> Result<Fingerprint> {
        self.builder.fingerprint(&self.cx, spec).await
    }

    async fn push(&self, image: &BuiltImage) -> Result<PinnedImage> {
        self.registry.push(&self.cx, image, &"ecolaura/backend".parse()?).await
    }

    /// The failure of the fingerprint and of the build, which have to agree.
    async fn refusal(&self, spec: &ImageSpec) -> Error {
        let (planned, built) = (self.fingerprint(spec).await, self.build(spec).await);
        match (planned, built) {
            (Err(planned), Err(built)) if planned.kind() == built.kind() => built,
            (planned, built) => panic!("expected the same error twice, got {planned:?} and {built:?}"),
        }
    }

    async fn json(&self, image: &PinnedImage, digest: &Value) -> Result<Value> {
        let digest: Digest = digest.as_str().unwrap_or_default().parse()?;
        let mut bytes = Vec::new();
        let mut blob = self.registry.blob(&self.cx, &image.repository, &digest).await?;
        let read = blob.read_to_end(&mut bytes).await;
        read.map_err(|error| Error::new(ErrorKind::Corrupt, "conformance.read", error.to_string()))?;
        parse(&bytes)
    }
}

fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(ErrorKind::Corrupt, "conformance.read", error.to_string()))
}

fn names(error: &Error, text: &str) {
    assert!(error.report().contains(text), "expected `{text}` in: {}", error.report());
}

async fn the_same_inputs_give_the_same_image(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?;
    assert_eq!(bench.fingerprint(&spec).await?, bench.fingerprint(&spec).await?);
    assert_eq!(bench.build(&spec).await?, bench.build(&spec).await?);
    Ok(())
}

async fn a_copy_elsewhere_gives_the_same_image(bench: &Bench) -> Result<()> {
    let (one, other) = (bench.spec("one")?, bench.spec("other/place")?);
    assert_eq!(bench.fingerprint(&one).await?.digest(), bench.fingerprint(&other).await?.digest());
    assert_eq!(bench.build(&one).await?.digest, bench.build(&other).await?.digest);
    Ok(())
}

async fn a_changed_file_is_named_and_gives_another_image(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?;
    let (before, image) = (bench.fingerprint(&spec).await?, bench.build(&spec).await?);
    bench.write("one/assets/deep/b.txt", "B")?;
    let after = bench.fingerprint(&spec).await?;
    let changed = before.differences(&after);
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(changed[0].contains("deep/b.txt"), "{changed:?}");
    assert_ne!(bench.build(&spec).await?.digest, image.digest);
    Ok(())
}

async fn a_new_file_gives_another_fingerprint(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?;
    let before = bench.fingerprint(&spec).await?;
    bench.write("one/assets/new.txt", "")?;
    assert_ne!(before.digest(), bench.fingerprint(&spec).await?.digest());
    Ok(())
}

async fn every_field_counts(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?;
    let before = bench.fingerprint(&spec).await?.digest();
    let mut turned = spec.clone();
    turned.layers.reverse();
    let mut command = spec.clone();
    command.command.push("x".to_owned());
    let mut folder = spec.clone();
    folder.working_dir = Some("/app".to_owned());
    let mut platform = spec.clone();
    platform.platform = Platform::new("linux", "arm64");
    let lock = bench.lock()?;
    let others = [
        turned,
        command,
        folder,
        platform,
        spec.clone().entrypoint(["/app/backend"]),
        spec.clone().env("MODE", "other"),
        spec.clone().label("a", "b"),
        spec.clone().user("1"),
        spec.clone().port("9090/tcp"),
        spec.clone().lock_file(lock),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(bench.fingerprint(other).await?.digest(), before, "change {index}");
    }
    Ok(())
}

async fn a_fingerprint_builds_nothing(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?;
    bench.fingerprint(&spec).await?;
    let never = BuiltImage::new(bench.files.path(), Digest::of("never"), spec.platform, 0);
    assert!(!bench.builder.exists(&bench.cx, &never).await?);
    Ok(())
}

async fn what_was_built_exists(bench: &Bench) -> Result<()> {
    let image = bench.build(&bench.spec("one")?).await?;
    assert!(bench.builder.exists(&bench.cx, &image).await?);
    let never = BuiltImage::new(&image.layout, Digest::of("never"), image.platform.clone(), image.size);
    assert!(!bench.builder.exists(&bench.cx, &never).await?);
    assert!(image.size > 0);
    Ok(())
}

async fn the_configuration_is_what_was_asked_for(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?;
    let image = bench.push(&bench.build(&spec).await?).await?;
    let manifest = parse(&bench.registry.manifest(&bench.cx, &image).await?)?;
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(2));
    let config = bench.json(&image, &manifest["config"]["digest"]).await?;
    assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &"amd64".into()));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(2));
    let process = &config["config"];
    assert_eq!(process["Entrypoint"], serde_json::json!(["/app/backend", "--serve"]));
    assert_eq!(process["Env"], serde_json::json!(["MODE=test"]));
    assert_eq!(process["Labels"]["org.opencontainers.image.title"], "backend");
    assert_eq!(process["User"], "65532:65532");
    assert_eq!(process["ExposedPorts"], serde_json::json!({"8080/tcp": {}}));
    Ok(())
}

async fn a_bill_is_attached_if_there_are_lock_files(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?;
    let plain = bench.push(&bench.build(&spec).await?).await?;
    assert!(bench.registry.referrers(&bench.cx, &plain).await?.is_empty());
    let billed = bench.push(&bench.build(&spec.lock_file(bench.lock()?)).await?).await?;
    let attached = bench.registry.referrers(&bench.cx, &billed).await?;
    let [(kind, digest)] = attached.as_slice() else { panic!("{attached:?}") };
    assert_eq!(kind, "application/vnd.cyclonedx+json");
    let artifact = PinnedImage::new(billed.repository.clone(), *digest);
    let artifact = parse(&bench.registry.manifest(&bench.cx, &artifact).await?)?;
    assert_eq!(artifact["subject"]["digest"], billed.digest.to_string());
    let bill = bench.json(&billed, &artifact["layers"][0]["digest"]).await?;
    assert_eq!(bill["bomFormat"], "CycloneDX");
    Ok(())
}

async fn a_missing_file_is_named(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?.layer([ImageEntry::new(bench.files.path().join("gone-away"), "/x")]);
    let error = bench.refusal(&spec).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    names(&error, "gone-away");
    Ok(())
}

async fn a_missing_lock_file_is_named(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?.lock_file(bench.files.path().join("gone/Cargo.lock"));
    let error = bench.refusal(&spec).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    names(&error, "gone/Cargo.lock");
    Ok(())
}

async fn bad_fields_are_named(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?;
    let file = bench.write("file", "")?;
    let entry = |destination: &str| spec.clone().layer([ImageEntry::new(&file, destination)]);
    let cases = [
        (entry("relative/path"), "relative/path"),
        (entry("/../outside"), "/../outside"),
        (entry("/app/../../outside"), "/app/../../outside"),
        (spec.clone().user("two words"), "two words"),
        (spec.clone().port("70000/tcp"), "70000/tcp"),
        (spec.clone().port("http"), "http"),
    ];
    for (spec, named) in cases {
        let error = bench.refusal(&spec).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        names(&error, named);
    }
    Ok(())
}

async fn all_problems_are_told_at_once(bench: &Bench) -> Result<()> {
    let missing = bench.files.path().join("gone-away");
    let spec = bench.spec("one")?.port("0").user("").layer([ImageEntry::new(missing, "not-absolute")]);
    let error = bench.refusal(&spec).await;
    for named in ["ports", "user", "not-absolute", "gone-away"] {
        names(&error, named);
    }
    Ok(())
}

async fn building_at_the_same_time_is_building_once(bench: &Bench) -> Result<()> {
    let (one, other) = (bench.spec("one")?, bench.spec("other")?.env("OTHER", "1"));
    let builds = [&one, &one, &other, &other].map(|spec| bench.build(spec));
    let images = futures_util::future::try_join_all(builds).await?;
    assert!(images[0] == images[1] && images[2] == images[3] && images[0] != images[2]);
    for image in &images {
        assert!(bench.builder.exists(&bench.cx, image).await?);
    }
    Ok(())
}

async fn a_cancelled_build_leaves_no_image(bench: &Bench) -> Result<()> {
    let spec = bench.spec("one")?;
    let token = CancellationToken::new();
    token.cancel();
    let cx = bench.cx.clone().with_cancellation(token);
    let error = bench.builder.build(&cx, &spec).await.err().map(|error| error.kind());
    assert_eq!(error, Some(ErrorKind::Cancelled));
    let image = bench.build(&spec).await?;
    assert!(bench.builder.exists(&bench.cx, &image).await?, "the next build just works");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::fake::{image_builder::FakeImageBuilder, registry::FakeRegistry},
        vocabulary::Name,
    };

    #[tokio::test]
    async fn the_fake_conforms() {
        suite(async || {
            let builder = Arc::new(FakeImageBuilder::new(Name::new("builder").unwrap()));
            let registry = FakeRegistry::new(Name::new("registry").unwrap()).taking_from(Arc::clone(&builder));
            Fixture::new(builder, Arc::new(registry), ())
        })
        .await;
    }
}
