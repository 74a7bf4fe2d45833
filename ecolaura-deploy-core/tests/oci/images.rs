//! Images in layouts, as other tools write them.

use std::{fs, path::Path};

use ecolaura_deploy_core::vocabulary::{BuiltImage, Digest, Platform};
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub(crate) struct Layout<'a>(pub &'a Path);

impl Layout<'_> {
    pub(crate) fn blob(&self, kind: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        let folder = self.0.join("blobs/sha256");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(digest.to_hex()), content).unwrap();
        json!({"mediaType": kind, "digest": digest, "size": content.len()})
    }

    pub(crate) fn document(&self, kind: &str, document: &Value) -> Value {
        self.blob(kind, document.to_string().as_bytes())
    }

    /// An image with these layers.
    pub(crate) fn image(&self, layers: &[&[u8]]) -> Value {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let config = self.document("application/vnd.oci.image.config.v1+json", &config);
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(LAYER, layer)).collect();
        self.document(MANIFEST, &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}))
    }

    /// Something attached to `subject`.
    pub(crate) fn attach(&self, subject: &Value, kind: &str, content: &str) -> Value {
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layer = self.blob(kind, content.as_bytes());
        let document = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": config,
            "layers": [layer], "subject": subject});
        self.document(MANIFEST, &document)
    }

    /// Lists `entries`, of which the first is the image.
    pub(crate) fn finish(&self, entries: &[Value]) -> BuiltImage {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
        fs::write(self.0.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        BuiltImage::new(self.0, digest(&entries[0]), Platform::new("linux", "amd64"), 0)
    }
}

pub(crate) fn digest(entry: &Value) -> Digest {
    entry["digest"].as_str().unwrap().parse().unwrap()
}

/// An image of one layer.
pub(crate) fn image(dir: &Path, layer: &[u8]) -> BuiltImage {
    let layout = Layout(dir);
    let image = layout.image(&[layer]);
    layout.finish(&[image])
}

/// An index of two images, with a bill attached to it, whose digest is the second.
pub(crate) fn many(dir: &Path) -> (BuiltImage, Digest) {
    let layout = Layout(dir);
    let children = [layout.image(&[b"amd64"]), layout.image(&[b"arm64"])];
    let index = layout.document(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}));
    let bill = layout.attach(&index, "application/spdx+json", "bill");
    (layout.finish(&[index, bill.clone()]), digest(&bill))
}
