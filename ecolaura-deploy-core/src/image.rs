//! OCI's documents, as far as they are read or written here: one home for the builder, the registry, unpacking and
//! the scanner.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Context, Error, ErrorKind, Result, fence,
    vocabulary::{Digest, Platform},
};

mod artifact;
mod cargo;
mod fetch;
mod layout;

pub(crate) use self::{
    cargo::Cargo,
    fetch::{read_config, read_manifest, small_blob},
    layout::{Layout, Sweep, corrupt, open_blob},
};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// A bill of materials as `CycloneDX` JSON, as artifact and as layer of it.
pub(crate) const BILL: &str = "application/vnd.cyclonedx+json";
/// The annotation of an index's entry that holds its tag.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation of an index's entry that is attached to a manifest: the manifest's digest.
pub(crate) const SUBJECT: &str = "com.ecolaura.deploy.subject";

/// The annotation of an index that holds the newest epoch of an environment, whose name follows.
const EPOCH: &str = "com.ecolaura.deploy.epoch.";

/// The most that a document (manifest, configuration, bill of materials) may hold, in bytes.
pub(crate) const DOCUMENT: u64 = 64 * 1024 * 1024;
/// The most that a layer may unpack to, in bytes.
pub(crate) const UNPACKED: u64 = 64 * 1024 * 1024 * 1024;

type Annotations = BTreeMap<String, String>;

/// One blob that another document names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<Annotations>,
    /// What another tool wrote is kept.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        let media_type = media_type.to_owned();
        Self { media_type, digest, size, artifact_type: None, annotations: None, rest: BTreeMap::new() }
    }

    /// Of a document.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Without annotations and the like: as it stands in another document.
    pub(crate) fn plain(&self) -> Self {
        Self::new(&self.media_type, self.digest, self.size)
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    pub(crate) fn annotated(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.get_or_insert_default().insert(key.to_owned(), value.into());
        self
    }

    /// Of this kind of artifact.
    pub(crate) fn artifact(mut self, kind: impl Into<String>) -> Self {
        self.artifact_type = Some(kind.into());
        self
    }

    pub(crate) fn on(mut self, platform: &Platform) -> Self {
        let platform = serde_json::json!({"architecture": platform.architecture, "os": platform.os});
        self.rest.insert("platform".to_owned(), platform);
        self
    }

    /// Whether an index names it for `platform`.
    pub(crate) fn is_for(&self, platform: &Platform) -> bool {
        let named = |key| self.rest.get("platform").and_then(|all| all.get(key)).and_then(Value::as_str);
        named("os") == Some(&platform.os) && named("architecture") == Some(&platform.architecture)
    }

    /// Whether it is a manifest or an index, which names further blobs.
    pub(crate) fn is_document(&self) -> bool {
        self.media_type.contains(".manifest.") || self.media_type.contains(".index.")
    }

    /// `None` for compressions that are not read here.
    pub(crate) fn packing(&self) -> Option<Packing> {
        match self.media_type.rsplit(['.', '+']).next()? {
            "tar" => Some(Packing::Plain),
            "gzip" => Some(Packing::Gzip),
            _ => None,
        }
    }
}

/// An image manifest, an artifact's, or an index, which has no configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    #[serde(default = "schema_version")]
    pub(crate) schema_version: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<Annotations>,
}

fn schema_version() -> u8 {
    2
}

impl Manifest {
    pub(crate) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: schema_version(),
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: None,
            config: Some(config),
            layers,
            manifests: Vec::new(),
            subject: None,
            annotations: None,
        }
    }

    /// Every blob that it names, but for its subject.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers).chain(&self.manifests)
    }

    pub(crate) fn size(&self) -> u64 {
        self.children().map(|child| child.size).sum()
    }

    /// What kind of artifact it is, for one that is attached to an image.
    pub(crate) fn kind(&self) -> String {
        let config = || self.config.as_ref().map(|config| config.media_type.clone());
        self.artifact_type.clone().or_else(config).unwrap_or_default()
    }

    /// Why an image of this kind is not read.
    pub(crate) fn unsupported(&self) -> Option<String> {
        if !self.manifests.is_empty() || self.config.is_none() {
            let count = self.manifests.len();
            return Some(format!("an index of {count} images, not an image; name the image of a platform"));
        }
        let layer = self.layers.iter().find(|layer| layer.packing().is_none())?;
        Some(format!("the layer {} is of the kind `{}`, which is not read", layer.digest.short(), layer.media_type))
    }
}

/// `index.json` of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    schema_version: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Annotations>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: schema_version(),
            media_type: Some(INDEX.to_owned()),
            manifests: Vec::new(),
            annotations: None,
            rest: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Lets the caller in and remembers its epoch, or refuses it ([`fence::admit`]).
    pub(crate) fn admit(&mut self, operation: &'static str, cx: &Context) -> Result<()> {
        let key = format!("{EPOCH}{}", cx.environment());
        let seen = match self.annotations.as_ref().and_then(|all| all.get(&key)) {
            Some(text) => text.parse().map_err(|error| {
                let message = format!("the index's annotation `{key}` is `{text}`, expected a number");
                Error::new(ErrorKind::Corrupt, operation, message).with_source(error)
            })?,
            None => 0,
        };
        let newest = fence::admit(operation, cx, seen)?;
        if newest > seen {
            self.annotations.get_or_insert_default().insert(key, newest.to_string());
        }
        Ok(())
    }

    /// The entry that has this tag.
    pub(crate) fn tagged(&self, tag: &str) -> Option<&Descriptor> {
        self.manifests.iter().find(|entry| entry.annotation(REF_NAME) == Some(tag))
    }

    /// The entries that say they are attached to `subject`.
    pub(crate) fn attached(&self, subject: Digest) -> impl Iterator<Item = &Descriptor> {
        let subject = subject.to_string();
        self.manifests.iter().filter(move |entry| entry.annotation(SUBJECT) == Some(&subject))
    }

    /// An entry of this digest.
    pub(crate) fn entry(&self, digest: Digest) -> Option<&Descriptor> {
        self.manifests.iter().find(|entry| entry.digest == digest)
    }
}

/// A document that says something about itself.
pub(crate) trait Annotated: Serialize {
    fn annotate(&mut self, key: &str, value: String);
}

impl Annotated for Manifest {
    fn annotate(&mut self, key: &str, value: String) {
        self.annotations.get_or_insert_default().insert(key.to_owned(), value);
    }
}

impl Annotated for Index {
    fn annotate(&mut self, key: &str, value: String) {
        self.annotations.get_or_insert_default().insert(key.to_owned(), value);
    }
}

/// An image's configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Configuration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    pub(crate) architecture: String,
    pub(crate) os: String,
    pub(crate) config: Option<Process>,
    pub(crate) rootfs: RootFs,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) history: Option<Vec<Value>>,
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
}

/// The layers, unpacked, bottom first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    pub(crate) diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// How an image's processes are started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Process {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exposed_ports: Option<BTreeMap<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// The environment as names and values.
pub(crate) fn environment(process: &Process) -> BTreeMap<String, String> {
    let pairs = process.env.iter().flatten().filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A document as it is stored.
pub(crate) fn write<T: Serialize>(operation: &'static str, document: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(document)
        .map_err(|error| Error::internal(operation, "a document could not be written as JSON").with_source(error))
}

/// Reads a document; `what` names it and where it is.
pub(crate) fn parse<T: DeserializeOwned>(operation: &'static str, what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(ErrorKind::Corrupt, operation, format!("{what} is not as OCI defines it: {error}"))
            .with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_tools_wrote_is_kept() {
        let text = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":7,"annotations":{"a":"b"},"platform":{"architecture":"arm64","os":"linux","variant":"v8"},"urls":["x"]}],"annotations":{"c":"d"}}"#;
        let index: Index = parse("test", "index", text.as_bytes()).unwrap();
        let again: Value = serde_json::from_slice(&write("test", &index).unwrap()).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
        assert!(index.manifests[0].is_for(&Platform::new("linux", "arm64")));
        assert!(!index.manifests[0].is_for(&Platform::new("linux", "amd64")));
    }

    #[test]
    fn configurations_of_other_tools_are_read() {
        let text = r#"{"config":{"Env":null,"User":"","Entrypoint":null,"StopSignal":"SIGINT"},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config: Configuration = parse("test", "configuration", text.as_bytes()).unwrap();
        let process = config.config.unwrap();
        assert_eq!((process.user.as_deref(), process.env.as_deref()), (Some(""), None));
        assert!(String::from_utf8(write("test", &process).unwrap()).unwrap().contains("SIGINT"));
    }
}
