//! An image that nobody has pushed before.

use std::{fs, io::Write as _, path::Path};

use ecolaura_deploy_core::vocabulary::Digest;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::Layers;

const MIB: usize = 1024 * 1024;

/// Makes a layout in `dir` with one image, and answers with its digest. Its layers do not get smaller by compression,
/// which they have all the same: skopeo would compress what is not.
pub(crate) fn make(dir: &Path, Layers { count, mib }: Layers) -> String {
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    let mut noise = Noise(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let plain = noise.bytes(mib * MIB);
        diff_ids.push(Digest::of(&plain).to_string());
        let mut packed = GzEncoder::new(Vec::new(), Compression::none());
        packed.write_all(&plain).unwrap();
        layers.push(store(dir, "application/vnd.oci.image.layer.v1.tar+gzip", &packed.finish().unwrap()));
    }
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = store(dir, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
    let entry = store(dir, kind, manifest.to_string().as_bytes());
    fs::write(dir.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string()).unwrap();
    entry["digest"].as_str().unwrap().to_owned()
}

fn store(dir: &Path, kind: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    fs::write(dir.join("blobs/sha256").join(digest.to_hex()), bytes).unwrap();
    json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()})
}

/// `xorshift`, seeded by the time.
struct Noise(u128);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 16);
        while bytes.len() < length {
            self.0 ^= self.0 << 23;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 26;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
