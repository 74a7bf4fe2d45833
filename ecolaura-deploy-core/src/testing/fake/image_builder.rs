//! A fake [`ImageBuilder`].

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    Context, Error, ErrorKind, Result,
    backend::{ImageBuilder, ImageSpec},
    vocabulary::{BuiltImage, Digest, Fingerprint, Name},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BILL: &str = "application/vnd.cyclonedx+json";

/// Builds images in memory: they have a manifest and a configuration, and layers without files in them. The inputs
/// are read and checked as any builder does. From lock files an empty bill of materials is attached.
#[derive(Debug)]
pub struct FakeImageBuilder {
    name: Name,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<Digest, Bytes>,
    manifests: Vec<Digest>,
    builds: Vec<Digest>,
}

impl FakeImageBuilder {
    /// A builder that has built nothing.
    pub fn new(name: Name) -> Self {
        Self { name, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The images that were built, in their order; one that was built twice is there twice.
    pub fn builds(&self) -> Vec<Digest> {
        self.state().builds.clone()
    }

    /// Forgets every image.
    pub fn forget_images(&self) {
        *self.state() = State::default();
    }

    /// A blob of an image.
    pub fn blob(&self, digest: Digest) -> Option<Bytes> {
        self.state().blobs.get(&digest).cloned()
    }

    /// The manifests of images, and of what is attached to them.
    pub(super) fn manifests(&self) -> Vec<Digest> {
        self.state().manifests.clone()
    }
}

impl State {
    fn put(&mut self, kind: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(&bytes);
        let descriptor = json!({"mediaType": kind, "digest": digest, "size": bytes.len()});
        self.blobs.insert(digest, bytes.into());
        descriptor
    }

    fn manifest(&mut self, manifest: &Value) -> (Digest, Value) {
        let descriptor = self.put(MANIFEST, manifest.to_string().into_bytes());
        let digest = Digest::of(manifest.to_string());
        if !self.manifests.contains(&digest) {
            self.manifests.push(digest);
        }
        (digest, descriptor)
    }

    fn build(&mut self, spec: &ImageSpec, inputs: &Fingerprint) -> (Digest, u64) {
        // An archive without entries is its end, and nothing else.
        let empty = vec![0; 1024];
        let diff_ids = vec![Digest::of(&empty); spec.layers.len()];
        let layers: Vec<Value> =
            spec.layers.iter().map(|_| self.put("application/vnd.oci.image.layer.v1.tar", empty.clone())).collect();
        let env: Vec<String> = spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let ports: BTreeMap<&String, Value> = spec.ports.iter().map(|port| (port, json!({}))).collect();
        let config = json!({
            "architecture": spec.platform.architecture, "os": spec.platform.os,
            "config": {"Entrypoint": spec.entrypoint, "Cmd": spec.command, "Env": env, "Labels": spec.labels,
                "User": spec.user.as_deref().unwrap_or_default(), "ExposedPorts": ports,
                "WorkingDir": spec.working_dir.as_deref().unwrap_or_default()},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "comment": inputs.digest(),
        });
        let config = self.put("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let (digest, subject) = self.manifest(&manifest);
        if !spec.lock_files.is_empty() {
            let bill = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": []});
            let layer = self.put(BILL, bill.to_string().into_bytes());
            let config = self.put("application/vnd.oci.empty.v1+json", b"{}".to_vec());
            self.manifest(&json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BILL, "config": config,
                "layers": [layer], "subject": subject}));
        }
        self.builds.push(digest);
        (digest, manifest.to_string().len() as u64)
    }
}

/// Reads all inputs, and tells all that is wrong with them.
fn inspect(cx: &Context, operation: &'static str, spec: &ImageSpec) -> Result<Fingerprint> {
    cx.check(operation)?;
    let mut problems = Vec::new();
    let fields = ImageSpec { layers: Vec::new(), lock_files: Vec::new(), ..spec.clone() };
    let fields = crate::context::to_json(operation, &fields)?.to_string();
    let mut fingerprint = Fingerprint::new().part("specification", fields);
    let entries = spec.layers.iter().enumerate().flat_map(|(layer, all)| all.iter().map(move |entry| (layer, entry)));
    for (layer, entry) in entries {
        let destination = &entry.destination;
        if !destination.starts_with('/') || destination.split('/').any(|part| part == "..") {
            let text = format!("destination `{destination}`: expected an absolute path without `..`");
            problems.push((ErrorKind::InvalidInput, text));
        }
        match files(&entry.source) {
            Err(error) => problems.push((error.kind(), error.message().to_owned())),
            Ok(files) => {
                for (path, content) in files {
                    let name = format!("layer {layer}: {destination}{path}");
                    fingerprint =
                        fingerprint.part(name, [content.as_slice(), format!("{:?}", entry.mode).as_bytes()].concat());
                }
            }
        }
    }
    for path in &spec.lock_files {
        match fs::read(path) {
            Ok(content) => fingerprint = fingerprint.part(format!("lock file {}", path.display()), content),
            Err(error) => problems.push((ErrorKind::NotFound, format!("`{}`: {error}", path.display()))),
        }
    }
    check_fields(spec, &mut problems);
    problems.sort_by_key(|(kind, _)| *kind != ErrorKind::InvalidInput);
    let Some(kind) = problems.first().map(|(kind, _)| *kind) else { return Ok(fingerprint) };
    let texts: Vec<String> = problems.into_iter().map(|(_, text)| text).collect();
    Err(Error::new(kind, operation, texts.join("; ")))
}

fn check_fields(spec: &ImageSpec, problems: &mut Vec<(ErrorKind, String)>) {
    if let Some(user) = spec.user.as_ref().filter(|user| user.is_empty() || user.contains(char::is_whitespace)) {
        problems.push((ErrorKind::InvalidInput, format!("user: `{user}`: expected a name or a number")));
    }
    for port in &spec.ports {
        let number = port.split('/').next().unwrap_or_default();
        if !number.parse::<u16>().is_ok_and(|number| number > 0) {
            problems.push((ErrorKind::InvalidInput, format!("ports: `{port}`: expected a number from 1 to 65535")));
        }
    }
}

/// The files at `source` with their contents, by their path below it.
fn files(source: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let failed = |path: &Path, error| Error::io("image.read", path, error);
    let (mut left, mut found) = (vec![source.to_owned()], Vec::new());
    while let Some(path) = left.pop() {
        if fs::metadata(&path).map_err(|error| failed(&path, error))?.is_dir() {
            let entries = fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            left.extend(entries.map_err(|error| failed(&path, error))?.iter().map(fs::DirEntry::path));
        } else {
            let content = fs::read(&path).map_err(|error| failed(&path, error))?;
            let below = path.strip_prefix(source).unwrap_or(&path);
            let below = if below.as_os_str().is_empty() { String::new() } else { format!("/{}", below.display()) };
            found.push((below, content));
        }
    }
    found.sort();
    Ok(found)
}

#[async_trait]
impl ImageBuilder for FakeImageBuilder {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn fingerprint(&self, cx: &Context, spec: &ImageSpec) -> Result<Fingerprint> {
        inspect(cx, "image.fingerprint", spec)
    }

    async fn build(&self, cx: &Context, spec: &ImageSpec) -> Result<BuiltImage> {
        let inputs = inspect(cx, "image.build", spec)?;
        let (digest, size) = self.state().build(spec, &inputs);
        Ok(BuiltImage::new(PathBuf::from("memory"), digest, spec.platform.clone(), size))
    }

    async fn exists(&self, cx: &Context, image: &BuiltImage) -> Result<bool> {
        cx.check("image.exists")?;
        Ok(self.state().manifests.contains(&image.digest))
    }
}
