//! A context to build, and a look at what came of it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use ecolaura_deploy_core::{
    Context, Result,
    backend::{ImageBuilder as _, ImageSpec},
    docker::DockerBuilder,
    event::RecordingSink,
    pipeline::{Pipeline, constant},
    run::{Finished, Runner},
    steps::BuildImage,
    store::ObjectRunStore,
    testing::servers::{named, unique},
    vocabulary::{BuiltImage, Platform},
};
use serde_json::Value;

/// A context with a program that can do everything (`busybox`), and a layout.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    socket: PathBuf,
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: tar::EntryType,
    pub(crate) mode: u32,
    pub(crate) modified: u64,
    pub(crate) content: Vec<u8>,
}

pub(crate) fn cx() -> Context {
    Context::new("test".parse().unwrap())
}

impl Bench {
    /// With this build file; `None` if there is no engine.
    pub(crate) fn new(file: &str) -> Option<Self> {
        let socket = named("ECOLAURA_TEST_DOCKER")?.into();
        let bench = Self { dir: tempfile::tempdir().unwrap(), socket };
        bench.put("Dockerfile", file);
        Some(bench)
    }

    /// The same, after four lines that bring a busybox that runs as a shell. Its steps are in no cache.
    pub(crate) fn with_shell(rest: &str) -> Option<Self> {
        let shell = "COPY busybox /bin/sh\nCOPY busybox /bin/busybox\nCOPY unique /\n";
        let bench = Self::new(&format!("FROM scratch AS base\n{shell}{rest}"))?;
        bench.put("unique", &unique("step"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|path| path.is_file());
        fs::copy(busybox.unwrap(), bench.context().join("busybox")).unwrap();
        Some(bench)
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn layout(&self) -> PathBuf {
        self.dir.path().join("images")
    }

    pub(crate) fn put(&self, path: &str, content: &str) -> PathBuf {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    pub(crate) fn builder(&self) -> DockerBuilder {
        DockerBuilder::new(self.layout(), "docker".parse().unwrap()).socket(&self.socket).network("none")
    }

    pub(crate) fn spec(&self) -> ImageSpec {
        ImageSpec::new(Platform::current()).context_dir(self.context())
    }

    pub(crate) async fn build(&self, builder: &DockerBuilder) -> Result<BuiltImage> {
        builder.build(&cx(), &self.spec()).await
    }

    /// Builds as a step of a run; answers also with all that was said.
    pub(crate) async fn run(&self, builder: DockerBuilder) -> (Finished, String) {
        let mut pipeline = Pipeline::new("build".parse().unwrap(), "test".parse().unwrap());
        let sink = Arc::new(RecordingSink::default());
        let runner = Runner::new(Arc::new(ObjectRunStore::memory())).events(sink.clone());
        pipeline.add("build", BuildImage::new(Arc::new(builder), "image"), constant(self.spec()));
        let plan = runner.plan(&cx(), pipeline).await.unwrap();
        let finished = runner.run(&cx(), plan).await.unwrap();
        (finished, format!("{:#?}", sink.events()))
    }
}

/// Makes the engine forget all that it keeps of steps whose text has `nonce`, which stands for no other test's.
pub(crate) fn prune(bench: &Bench, nonce: &str) {
    let ask = |arguments: &[&str]| {
        let asked = Command::new("curl").args(["-sf", "--unix-socket"]).arg(bench.socket()).args(arguments).output();
        let asked = asked.unwrap();
        assert!(asked.status.success(), "{asked:?}");
        serde_json::from_slice::<Value>(&asked.stdout).unwrap()
    };
    let kept = ask(&["http://docker/v1.41/system/df"]);
    let records = kept["BuildCache"].as_array().unwrap().iter();
    let ours: Vec<_> =
        records.filter(|one| one["Description"].as_str().is_some_and(|text| text.contains(nonce))).collect();
    assert!(!ours.is_empty(), "{kept}");
    for record in ours {
        let filters = serde_json::json!({"id": {record["ID"].as_str().unwrap(): true}}).to_string();
        ask(&[
            "-G",
            "-X",
            "POST",
            "--data-urlencode",
            &format!("filters={filters}"),
            "http://docker/v1.41/build/prune?all=true",
        ]);
    }
}

pub(crate) fn document(image: &BuiltImage, digest: &str) -> Value {
    let path = image.layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(crate) fn manifest(image: &BuiltImage) -> Value {
    document(image, &image.digest.to_string())
}

pub(crate) fn config(image: &BuiltImage) -> Value {
    document(image, manifest(image)["config"]["digest"].as_str().unwrap())
}

/// What is in the layers, by path.
pub(crate) fn files(image: &BuiltImage) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    for layer in manifest(image)["layers"].as_array().unwrap() {
        let hex = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        let file = File::open(image.layout.join("blobs/sha256").join(hex)).unwrap();
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(file));
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
            let (kind, header) = (entry.header().entry_type(), entry.header());
            let (mode, modified) = (header.mode().unwrap(), header.mtime().unwrap());
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.insert(path, Found { kind, mode, modified, content });
        }
    }
    found
}
