//! What identifies the inputs of a build.

use std::collections::BTreeMap;

use super::{DockerBuilder, inputs::Inputs};
use crate::{
    backend::ImageSpec,
    local::image::{NAMED, grouped},
    vocabulary::Fingerprint,
};

/// How images are made. Another number makes other images of the same inputs.
const RECIPE: &str = concat!("docker builder 3, ", env!("CARGO_PKG_VERSION"));

impl Inputs {
    /// A part for each file by its path in the context, one for each field and option. Of secrets it covers which ones
    /// there are; where steps are taken over from is no input.
    pub(super) fn fingerprint(&self, builder: &DockerBuilder, spec: &ImageSpec) -> Fingerprint {
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        let secrets: Vec<_> = builder.secrets.keys().collect();
        let mut fingerprint = Fingerprint::new()
            .part("builder", RECIPE)
            .part("build file", &self.file)
            .part("platforms", json(serde_json::to_string(&builder.wanted(spec))))
            .part("labels", json(serde_json::to_string(&spec.labels)))
            .part("target", json(serde_json::to_string(&builder.target)))
            .part("secrets", json(serde_json::to_string(&secrets)))
            .part("network", json(serde_json::to_string(&builder.network)))
            .part("inline cache", if builder.cache_inline { "yes" } else { "no" });
        for (name, value) in &builder.args {
            fingerprint = fingerprint.part(format!("argument {name}"), value);
        }
        let entries = self.entries.iter().zip(&self.digests);
        let parts: BTreeMap<_, _> = entries.map(|(entry, digest)| ((0, entry.path.as_str()), *digest)).collect();
        for (path, digest) in grouped(&parts, NAMED) {
            fingerprint = fingerprint.digest_part(format!("context{path}"), digest);
        }
        fingerprint
    }
}
