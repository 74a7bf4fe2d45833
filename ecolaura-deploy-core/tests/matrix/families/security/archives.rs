//! Layers and layouts that would reach out of the folder that they are unpacked into.

#[cfg(not(feature = "local"))]
pub(super) fn all() -> Vec<crate::families::Cell> {
    let names = ["climbs", "absolute", "through-a-link", "hard-link-outside", "device", "digest-climbs"];
    super::left_out("S", "local", &names.map(|name| format!("archives/{name}")).each_ref().map(String::as_str))
}

#[cfg(feature = "local")]
pub(super) use self::embedded::all;

#[cfg(feature = "local")]
mod embedded {
    use std::{fs, path::PathBuf};

    use ecolaura_deploy_core::{
        Error, ErrorKind, Result,
        backend::Registry as _,
        local::{image::unpack, registry::LayoutRegistry},
        vocabulary::{BuiltImage, Digest, Platform},
    };
    use tar::EntryType as Kind;

    use super::super::{Sprung, Yard, block, cx, refused, trap};
    use crate::families::Cell;

    /// Kind, path, and content or target.
    type Item = (Kind, &'static str, &'static str);

    pub(in super::super) fn all() -> Vec<Cell> {
        vec![
            archive("climbs", &[(Kind::Regular, "a/../../outside/secret", "ours")], Some(&["a/../../outside/secret"])),
            archive("absolute", &[(Kind::Regular, "/outside/secret", "ours")], None),
            archive(
                "through-a-link",
                &[(Kind::Symlink, "a", "../../outside"), (Kind::Regular, "a/secret", "ours")],
                Some(&["a/secret", "out of the image"]),
            ),
            archive("hard-link-outside", &[(Kind::Link, "a", "../../outside/secret")], Some(&["../../outside/secret"])),
            archive("device", &[(Kind::Char, "zero", ""), (Kind::Fifo, "pipe", "")], None),
            trap("archives/digest-climbs", digest_climbs),
        ]
    }

    /// A layer of `items`, which is refused by these names, or lands within the image.
    fn archive(name: &str, items: &'static [Item], names: Option<&'static [&'static str]>) -> Cell {
        trap(format!("archives/{name}"), move || {
            let yard = Yard::new();
            let place = yard.path("inside/run/root");
            let unpacked = block(unpacked(&yard, layer(items), place.clone()));
            match names {
                Some(names) => refused(unpacked, names)?,
                None => unpacked.map_err(|error| error.report())?,
            }
            let special = |path: &str| fs::symlink_metadata(place.join(path)).is_ok_and(|found| !found.is_file());
            if special("zero") || special("pipe") {
                return Err("a device was made".to_owned());
            }
            yard.untouched()
        })
    }

    fn layer(items: &[Item]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, path, text) in items {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            // Written as they are: a well-behaved builder refuses some of these.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            let content = if *kind == Kind::Regular { text.as_bytes() } else { b"" };
            if matches!(kind, Kind::Symlink | Kind::Link) {
                header.set_link_name_literal(text).unwrap();
            }
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn blob(layout: &std::path::Path, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        fs::write(layout.join("blobs/sha256").join(digest.to_hex()), bytes).unwrap();
        digest
    }

    /// An image of one layer, as a stranger may have made it.
    fn image(layout: &std::path::Path, layer: &[u8]) -> BuiltImage {
        let described = |kind: &str, bytes: &[u8]| {
            let kind = format!("application/vnd.oci.image.{kind}");
            serde_json::json!({"mediaType": kind, "digest": blob(layout, bytes), "size": bytes.len()})
        };
        let config = serde_json::json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer)]}});
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("config.v1+json", config.to_string().as_bytes()),
            "layers": [described("layer.v1.tar", layer)]});
        let digest = blob(layout, manifest.to_string().as_bytes());
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::write(layout.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
        BuiltImage::new(layout, digest, Platform::current(), 0)
    }

    async fn unpacked(yard: &Yard, layer: Vec<u8>, place: PathBuf) -> Result<()> {
        let registry = LayoutRegistry::new(yard.path("inside/registry"), "registry".parse().unwrap());
        let image = image(&yard.path("inside/source"), &layer);
        let pinned = registry.push(&cx(), &image, &"a/b".parse().unwrap()).await?;
        unpack(&cx(), &registry, &pinned, &place).await.map(drop)
    }

    /// A layout whose index names a blob by a path.
    fn digest_climbs() -> Sprung {
        let yard = Yard::new();
        let folder = yard.path("inside/registry/a+b");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "digest":"sha256:../../../../../outside/secret","size":16,
            "annotations":{"org.opencontainers.image.ref.name":"v1"}}]}"#;
        fs::write(folder.join("index.json"), index).unwrap();
        let registry = LayoutRegistry::new(yard.path("inside/registry"), "registry".parse().unwrap());
        let (repository, tag) = ("a/b".parse().unwrap(), "v1".parse().unwrap());
        let resolved = block(registry.resolve(&cx(), &repository, &tag));
        match resolved {
            Err(error) if error.kind() == ErrorKind::Corrupt => refused(Err::<(), Error>(error), &["index.json"]),
            other => Err(format!("{other:?}")),
        }
    }
}
