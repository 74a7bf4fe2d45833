//! The packages that a bill of materials lists.

use serde::Deserialize;

use crate::{Context, Result, backend::Registry, local::oci, vocabulary::PinnedImage};

const OPERATION: &str = "scan.scan";

/// One package, as its URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    /// `cargo`, `npm`, `deb`, …
    pub(super) kind: String,
    /// With its namespace: `serde`, `@scope/name`.
    pub(super) name: String,
    pub(super) version: String,
}

/// What is in an image.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Materials {
    pub(super) packages: Vec<Package>,
    /// Components that cannot be told: no package URL, or no version.
    pub(super) unidentified: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default)]
    name: String,
    version: Option<String>,
    purl: Option<String>,
    #[serde(default)]
    components: Vec<Component>,
}

impl Materials {
    /// What all bills of materials attached to `image` list together, or why it cannot be told.
    pub(super) async fn read(
        cx: &Context,
        registry: &dyn Registry,
        image: &PinnedImage,
    ) -> Result<Result<Self, String>> {
        let mut materials = Self::default();
        let mut found = false;
        for (kind, digest) in registry.referrers(cx, image).await? {
            if kind != oci::BILL {
                continue;
            }
            found = true;
            let attached = PinnedImage::new(image.repository.clone(), digest);
            let manifest = oci::read_manifest(cx, OPERATION, registry, &attached).await?;
            let [layer] = manifest.layers.as_slice() else {
                let count = manifest.layers.len();
                return Ok(Err(format!("the bill of materials {} has {count} layers, expected 1", digest.short())));
            };
            let bytes = oci::small_blob(cx, OPERATION, registry, &attached, layer.digest).await?;
            if let Err(reason) = materials.add(&bytes) {
                return Ok(Err(format!("the bill of materials {} {reason}", digest.short())));
            }
        }
        if !found {
            return Ok(Err("the image has no bill of materials (CycloneDX) attached".to_owned()));
        }
        if materials == Self::default() {
            return Ok(Err("the bill of materials lists no package".to_owned()));
        }
        Ok(Ok(materials))
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| format!("is not CycloneDX: {error}"))?;
        let mut left = document.components.ok_or("has no `components`")?;
        while let Some(component) = left.pop() {
            let version = component.version.as_deref();
            match component.purl.as_deref().and_then(|purl| parse_purl(purl, version)) {
                Some(package) => self.packages.push(package),
                None => self.unidentified.push(format!("{} {}", component.name, version.unwrap_or("?"))),
            }
            left.extend(component.components);
        }
        Ok(())
    }
}

/// `pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS#SUBPATH`; the version may be beside it instead.
fn parse_purl(purl: &str, version: Option<&str>) -> Option<Package> {
    let path = purl.strip_prefix("pkg:")?.split(['?', '#']).next()?.trim_start_matches('/');
    let (kind, path) = path.split_once('/')?;
    let (name, in_url) = match path.rsplit_once('@') {
        // An unescaped `@scope` is not a version.
        Some((name, version)) if !name.is_empty() && !version.contains('/') => (name, Some(version)),
        _ => (path, None),
    };
    let version = in_url.map_or_else(|| version.map(str::to_owned), decode).filter(|version| !version.is_empty())?;
    let name = decode(name.trim_matches('/')).filter(|name| !name.is_empty())?;
    Some(Package { kind: kind.to_ascii_lowercase(), name, version })
}

/// Percent-decoded; `None` if that is not UTF-8 or not well formed.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let pair = tail.get(..2)?;
            bytes.extend(hex::decode(pair).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_read() {
        for (purl, beside, expected) in [
            ("pkg:cargo/serde@1.0.1", None, Some(("cargo", "serde", "1.0.1"))),
            ("pkg:cargo/serde@1.0.1?checksum=sha256:a#src", None, Some(("cargo", "serde", "1.0.1"))),
            ("pkg:cargo/serde", Some("1.0.2"), Some(("cargo", "serde", "1.0.2"))),
            ("pkg:npm/%40scope/name@1.0.0", None, Some(("npm", "@scope/name", "1.0.0"))),
            ("pkg:npm/@scope/name", Some("2.0.0"), Some(("npm", "@scope/name", "2.0.0"))),
            ("pkg:npm/a@1.0.0%2Bbuild", None, Some(("npm", "a", "1.0.0+build"))),
            ("pkg:cargo/serde", None, None),
            ("pkg:cargo/@1.0.0", None, None),
            ("cargo/serde@1", None, None),
            ("pkg:cargo/a%zz@1.0.0", None, None),
        ] {
            let found = parse_purl(purl, beside);
            let found = found.as_ref().map(|one| (one.kind.as_str(), one.name.as_str(), one.version.as_str()));
            assert_eq!(found, expected, "{purl}");
        }
    }
}
