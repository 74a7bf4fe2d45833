//! Images for the suites, written by hand into an OCI image layout.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    Error, Result,
    vocabulary::{BuiltImage, Digest, Platform},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout that holds one image whose layer is `content`, perhaps with `bill` attached.
pub(super) fn write_image(dir: &Path, content: &[u8], bill: Option<&str>) -> Result<BuiltImage> {
    let layout = Writer(dir);
    let kind = "application/vnd.oci.image.layer.v1.tar";
    let config = json!({"architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(content)]}});
    let config = layout.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
    let layer = layout.blob(kind, content)?;
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let image = layout.blob(MANIFEST, manifest.to_string().as_bytes())?;
    let mut entries = vec![image.clone()];
    if let Some(bill) = bill {
        let kind = "application/vnd.cyclonedx+json";
        let config = layout.blob("application/vnd.oci.empty.v1+json", b"{}")?;
        let layer = layout.blob(kind, bill.as_bytes())?;
        let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": config,
            "layers": [layer], "subject": image});
        entries.push(layout.blob(MANIFEST, artifact.to_string().as_bytes())?);
    }
    layout.put("index.json", json!({"schemaVersion": 2, "manifests": entries}).to_string().as_bytes())?;
    layout.put("oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#)?;
    let digest = Digest::of(manifest.to_string());
    Ok(BuiltImage::new(dir, digest, Platform::new("linux", "amd64"), content.len() as u64))
}

/// Where the layout at `dir` has a blob.
pub(super) fn blob_path(dir: &Path, digest: Digest) -> std::path::PathBuf {
    dir.join("blobs/sha256").join(digest.to_hex())
}

struct Writer<'a>(&'a Path);

impl Writer<'_> {
    fn put(&self, path: &str, content: &[u8]) -> Result<()> {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(self.0))
            .and_then(|()| std::fs::write(&path, content))
            .map_err(|error| Error::io("conformance.write", &path, error))
    }

    fn blob(&self, kind: &str, content: &[u8]) -> Result<Value> {
        let digest = Digest::of(content);
        self.put(&format!("blobs/sha256/{}", digest.to_hex()), content)?;
        Ok(json!({"mediaType": kind, "digest": digest, "size": content.len()}))
    }
}
