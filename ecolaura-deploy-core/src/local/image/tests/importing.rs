//! Images that other tools saved.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::*;
use crate::{
    backend::Registry as _,
    image::INDEX,
    local::registry::LayoutRegistry,
    vocabulary::{Digest, PinnedImage},
};

/// A tar archive in the making.
struct Saved(tar::Builder<Vec<u8>>);

impl Saved {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn raw(mut self, name: &str, kind: EntryType, target: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        // As it is: the builder would refuse some names.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.raw(name, EntryType::Regular, "", content.as_ref())
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.raw(name, EntryType::Symlink, target, b"")
    }

    /// Stores a blob of a layout, and answers with its descriptor.
    fn blob(self, kind: &str, content: &[u8]) -> (Self, Value) {
        let digest = Digest::of(content);
        let entry = json!({"mediaType": kind, "digest": digest, "size": content.len()});
        (self.file(&format!("blobs/sha256/{}", digest.to_hex()), content), entry)
    }

    /// An image of one layer for `platform`.
    fn image(self, architecture: &str, layer: &[u8]) -> (Self, Value) {
        let (saved, config) = self.blob("application/vnd.oci.image.config.v1+json", &config(architecture, &[layer]));
        let (saved, layer) = saved.blob("application/vnd.oci.image.layer.v1.tar", layer);
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        saved.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    fn index(self, entries: &[Value]) -> Self {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        self.file("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#).file("index.json", index.to_string())
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn config(architecture: &str, layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(Digest::of).collect();
    let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
    json!({"architecture": architecture, "os": "linux", "rootfs": rootfs}).to_string().into_bytes()
}

fn named(mut entry: Value, name: &str) -> Value {
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    entry
}

fn digest(entry: &Value) -> Digest {
    entry["digest"].as_str().unwrap().parse().unwrap()
}

/// A layer with one file.
fn layer(content: &str) -> Vec<u8> {
    Saved::new().file("etc/content", content).bytes()
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As docker writes it: the second layer is a link to the first one's, and the list comes last.
fn docker() -> Saved {
    let (base, top) = (layer("base"), layer("top"));
    let config = config("amd64", &[&base, &top, &base]);
    let name = format!("{}.json", Digest::of(&config).to_hex());
    let manifest = json!([{"Config": name, "RepoTags": ["shop/backend:v1"],
        "Layers": ["aaa/layer.tar", "bbb/layer.tar", "ccc/layer.tar"]}]);
    Saved::new()
        .raw("aaa/", EntryType::Directory, "", b"")
        .file("aaa/layer.tar", &base)
        .file("bbb/layer.tar", zipped(&top))
        .link("ccc/layer.tar", "../aaa/layer.tar")
        .file(&name, &config)
        .file("manifest.json", manifest.to_string())
}

async fn import(dir: &Path, bytes: &[u8], choose: impl Fn(ImageArchive) -> ImageArchive) -> Result<BuiltImage> {
    let path = dir.join("saved.tar");
    fs::write(&path, bytes).unwrap();
    choose(ImageArchive::new(path)).import(&cx(), dir.join("layout")).await
}

async fn refused(bytes: &[u8], kind: ErrorKind, parts: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let error = import(dir.path(), bytes, |archive| archive).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    for part in parts.iter().chain(&["saved.tar"]) {
        assert!(error.report().contains(part), "{part}: {}", error.report());
    }
    let left: Vec<_> = fs::read_dir(dir.path().join("layout/incoming")).unwrap().collect();
    assert!(left.is_empty(), "nothing half written stays: {left:?}");
}

/// Pushes `image` and answers with its manifest.
async fn pushed(dir: &Path, image: &BuiltImage) -> (LayoutRegistry, PinnedImage, Value) {
    let registry = LayoutRegistry::new(dir.join("registry"), "registry".parse().unwrap());
    let pinned = registry.push(&cx(), image, &"shop/backend".parse().unwrap()).await.unwrap();
    let manifest = serde_json::from_slice(&registry.manifest(&cx(), &pinned).await.unwrap()).unwrap();
    (registry, pinned, manifest)
}

#[tokio::test]
async fn what_docker_saved_is_pushed_and_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let image = import(dir.path(), &docker().bytes(), |archive| archive.reference("shop/backend:v1")).await.unwrap();
    assert_eq!(image.platform, Platform::new("linux", "amd64"));
    let (registry, pinned, manifest) = pushed(dir.path(), &image).await;
    let (base, top) = (layer("base"), layer("top"));
    let id = Digest::of(config("amd64", &[&base, &top, &base]));
    assert_eq!(digest(&manifest["config"]), id, "the image id stays");
    assert_eq!(manifest["layers"][0], manifest["layers"][2]);
    assert_eq!(digest(&manifest["layers"][1]), Digest::of(zipped(&top)), "compressed already");
    let root = dir.path().join("root");
    crate::local::image::unpack(&cx(), &registry, &pinned, &root).await.unwrap();
    assert_eq!(fs::read_to_string(root.join("etc/content")).unwrap(), "base");

    let again = import(dir.path(), &zipped(&docker().bytes()), |archive| archive).await.unwrap();
    assert_eq!(again, image, "compressed as a whole, and without its name");
}

#[tokio::test]
async fn a_layout_in_an_archive_keeps_its_digest_and_what_is_attached() {
    let dir = tempfile::tempdir().unwrap();
    let (saved, image) = Saved::new().image("arm64", &layer("content"));
    let (saved, empty) = saved.blob("application/vnd.oci.empty.v1+json", b"{}");
    let (saved, bill) = saved.blob("application/spdx+json", b"bill");
    let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/spdx+json",
        "config": empty, "layers": [bill], "subject": image});
    let (saved, artifact) = saved.blob(MANIFEST, artifact.to_string().as_bytes());
    let bytes = saved.index(&[named(image.clone(), "v1"), artifact.clone()]).bytes();
    for _ in 0..2 {
        let imported = import(dir.path(), &bytes, |archive| archive).await.unwrap();
        assert_eq!((imported.digest, &imported.platform), (digest(&image), &Platform::new("linux", "arm64")));
        let (registry, pinned, _) = pushed(dir.path(), &imported).await;
        let attached = registry.referrers(&cx(), &pinned).await.unwrap();
        assert_eq!(attached, [("application/spdx+json".to_owned(), digest(&artifact))]);
    }
}

#[tokio::test]
async fn of_several_images_one_is_taken_by_name_and_platform() {
    let dir = tempfile::tempdir().unwrap();
    let (saved, intel) = Saved::new().image("amd64", &layer("amd64"));
    let (saved, arm) = saved.image("arm64", &layer("arm64"));
    let (saved, other) = saved.image("amd64", &layer("other"));
    let mut absent = intel.clone();
    absent["digest"] = json!(Digest::of("not saved"));
    let index = json!({"schemaVersion": 2, "manifests": [intel, arm, absent]});
    let kind = "application/vnd.oci.image.index.v1+json";
    let (saved, index) = saved.blob(kind, index.to_string().as_bytes());
    let bytes = saved.index(&[named(index, "docker.io/library/shop:latest"), named(other.clone(), "other:v1")]).bytes();

    let take = async |name: Option<&str>, architecture: Option<&str>| {
        let choose = |archive: ImageArchive| {
            let archive = name.into_iter().fold(archive, ImageArchive::reference);
            architecture.into_iter().fold(archive, |one, name| one.platform(Platform::new("linux", name)))
        };
        import(dir.path(), &bytes, choose).await
    };
    assert_eq!(take(Some("shop"), Some("arm64")).await.unwrap().digest, digest(&arm));
    assert_eq!(take(None, Some("arm64")).await.unwrap().digest, digest(&arm));
    assert_eq!(take(Some("other:v1"), None).await.unwrap().digest, digest(&other));
    let several = take(Some("shop"), None).await.unwrap_err();
    assert_eq!(several.kind(), ErrorKind::InvalidInput);
    for part in ["several platforms", &digest(&absent).short(), "say which platform"] {
        assert!(several.report().contains(part), "{part}: {}", several.report());
    }
    let none = take(Some("other:v2"), None).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    assert!(none.report().contains("`other:v2`") && none.report().contains("`other:v1`"), "{}", none.report());
}

#[tokio::test]
async fn an_archive_that_is_none_is_named() {
    refused(b"", ErrorKind::Unsupported, &["`index.json`"]).await;
    refused(&[7; 2000], ErrorKind::Corrupt, &["no tar archive"]).await;
    refused(&Saved::new().file("etc/passwd", "x").bytes(), ErrorKind::Unsupported, &["docker export"]).await;
    refused(&zipped(&docker().bytes())[..400], ErrorKind::Corrupt, &["gzip"]).await;
    let whole = docker().bytes();
    refused(&whole[..1500], ErrorKind::Corrupt, &["`aaa/layer.tar`", "cut off"]).await;
    let dir = tempfile::tempdir().unwrap();
    let missing = ImageArchive::new("/not/there.tar").import(&cx(), dir.path().join("layout")).await.unwrap_err();
    assert!(missing.kind() == ErrorKind::NotFound && missing.report().contains("/not/there.tar"), "{missing:?}");
}

#[tokio::test]
async fn an_entry_that_is_not_what_it_should_be_is_named() {
    let list = |layers: &[&str]| json!([{"Config": "c.json", "Layers": layers}]).to_string();
    let base = layer("base");
    let of =
        |layers: &[&str]| Saved::new().file("c.json", config("amd64", &[&base])).file("manifest.json", list(layers));
    refused(&of(&["a.tar"]).bytes(), ErrorKind::Corrupt, &["`a.tar`", "not there"]).await;
    refused(&of(&[]).bytes(), ErrorKind::Corrupt, &["`c.json`", "1 layers"]).await;
    let other = Digest::of(layer("other")).to_string();
    refused(&of(&["a"]).file("a", layer("other")).bytes(), ErrorKind::Corrupt, &["`a`", "digest", &other]).await;
    refused(&of(&["a"]).file("a", zipped(&layer("other"))).bytes(), ErrorKind::Corrupt, &["`a`", &other]).await;
    refused(&of(&["a"]).file("a", &zipped(&base)[..40]).bytes(), ErrorKind::Corrupt, &["`a`", "unpacked"]).await;
    let fifo = of(&["a"]).raw("a", EntryType::Fifo, "", b"");
    refused(&fifo.bytes(), ErrorKind::Unsupported, &["`a`", "Fifo"]).await;
    refused(&Saved::new().file("manifest.json", "[{}]").bytes(), ErrorKind::Corrupt, &["`manifest.json`"]).await;

    let (saved, image) = Saved::new().image("amd64", &base);
    let name = format!("blobs/sha256/{}", Digest::of(&base).to_hex());
    let changed = saved.file(&name, vec![1; base.len()]).index(&[image]);
    refused(&changed.bytes(), ErrorKind::Corrupt, &[&name, "digest"]).await;

    let (saved, image) = Saved::new().image("amd64", &base);
    let name = format!("blobs/sha256/{}", digest(&image).to_hex());
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}).to_string();
    let found = Digest::of(&manifest).to_string();
    let changed = saved.file(&name, manifest).index(&[image]);
    refused(&changed.bytes(), ErrorKind::Corrupt, &[&name, "digest", &found]).await;
}

#[tokio::test]
async fn no_entry_leads_out_of_the_archive() {
    let secret = tempfile::tempdir().unwrap();
    let target = put(secret.path(), "secret", layer("base"));
    let base = layer("base");
    let of = |target: &str| {
        let list = json!([{"Config": "c.json", "Layers": ["x/layer.tar"]}]).to_string();
        let saved = Saved::new().file("c.json", config("amd64", &[&base])).file("manifest.json", list);
        saved.link("x/layer.tar", target)
    };
    for target in [target.to_str().unwrap(), "../../secret", "../x/../../secret"] {
        refused(&of(target).bytes(), ErrorKind::Corrupt, &["`x/layer.tar`", "out of the archive"]).await;
    }
    refused(&of("layer.tar").bytes(), ErrorKind::Corrupt, &["`x/layer.tar`", "itself"]).await;
    let climbing = of("layer").file("../../outside", "x");
    refused(&climbing.bytes(), ErrorKind::Corrupt, &["`../../outside`", "out of the archive"]).await;
}

/// An image for two platforms as one index, with a bill that is attached to one of them.
fn two_platforms() -> (Saved, Value, Value) {
    let (saved, intel) = Saved::new().image("amd64", &layer("amd64"));
    let (saved, arm) = saved.image("arm64", &layer("arm64"));
    let (saved, bill) = saved.blob("application/spdx+json", b"bill");
    let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/spdx+json",
        "config": bill, "layers": [bill], "subject": arm});
    let (saved, bill) = saved.blob(MANIFEST, artifact.to_string().as_bytes());
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [intel, arm]});
    let (saved, index) = saved.blob(INDEX, index.to_string().as_bytes());
    (saved, index, bill)
}

#[tokio::test]
async fn an_image_for_several_platforms_is_taken_and_pushed_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (saved, index, bill) = two_platforms();
    let bytes = saved.index(&[named(index.clone(), "v1"), bill.clone()]).bytes();
    let image = import(dir.path(), &bytes, |archive| archive).await.unwrap();
    assert_eq!(image.digest, digest(&index));
    let registry = LayoutRegistry::new(dir.path().join("registry"), "registry".parse().unwrap());
    let to = "shop/backend".parse().unwrap();
    let pinned = registry.push(&cx(), &image, &to).await.unwrap();
    let whole: Value = serde_json::from_slice(&registry.manifest(&cx(), &pinned).await.unwrap()).unwrap();
    let mut size = index["size"].as_u64().unwrap();
    for child in whole["manifests"].as_array().unwrap() {
        let child_image = PinnedImage::new(to.clone(), digest(child));
        let manifest: Value = serde_json::from_slice(&registry.manifest(&cx(), &child_image).await.unwrap()).unwrap();
        size += child["size"].as_u64().unwrap() + manifest["config"]["size"].as_u64().unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            registry.blob(&cx(), &to, &digest(layer)).await.unwrap();
            size += layer["size"].as_u64().unwrap();
        }
    }
    assert_eq!(image.size, size);
    let arm = PinnedImage::new(to, digest(&whole["manifests"][1]));
    assert_eq!(registry.referrers(&cx(), &arm).await.unwrap(), [("application/spdx+json".to_owned(), digest(&bill))]);
}

#[tokio::test]
async fn indexes_in_indexes_end_and_what_is_named_often_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let within = |levels: usize, times: usize| {
        let (mut saved, mut top, _) = two_platforms();
        for _ in 0..levels {
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": vec![top; times]});
            (saved, top) = saved.blob(INDEX, index.to_string().as_bytes());
        }
        saved.index(&[named(top, "v1")]).bytes()
    };
    let once = import(dir.path(), &within(2, 1), |archive| archive).await.unwrap();
    let often = import(dir.path(), &within(2, 3000), |archive| archive).await.unwrap();
    assert_eq!(often.platform, once.platform);
    assert!(often.size - once.size < 2 * 3000 * 300, "{} and {}", often.size, once.size);

    // An image beside a chain that is too long.
    let (mut saved, image, _) = two_platforms();
    let mut top = image.clone();
    for _ in 0..6 {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]});
        (saved, top) = saved.blob(INDEX, index.to_string().as_bytes());
    }
    let both = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image, top]});
    let (saved, both) = saved.blob(INDEX, both.to_string().as_bytes());
    let error = import(dir.path(), &saved.index(&[named(both, "v1")]).bytes(), |archive| archive).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
}

#[tokio::test]
async fn of_an_image_for_several_platforms_one_can_be_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (saved, index, _) = two_platforms();
    let bytes = saved.index(&[named(index.clone(), "v1")]).bytes();
    let image = import(dir.path(), &bytes, |archive| archive.platform(Platform::new("linux", "arm64"))).await.unwrap();
    assert_ne!(image.digest, digest(&index));
    assert_eq!(image.platform, Platform::new("linux", "arm64"));
}

#[tokio::test]
async fn images_that_docker_saved_under_one_name_become_an_index() {
    let mut saved = Saved::new();
    let mut list = Vec::new();
    for architecture in ["s390x", "arm64"] {
        let layer = layer(architecture);
        let config = config(architecture, &[&layer]);
        let (name, tar) = (format!("{architecture}.json"), format!("{architecture}/layer.tar"));
        saved = saved.file(&name, &config).file(&tar, &layer);
        list.push(json!({"Config": name, "RepoTags": ["shop/backend:v1"], "Layers": [tar]}));
    }
    let bytes = saved.file("manifest.json", Value::from(list.clone()).to_string()).bytes();
    let dir = tempfile::tempdir().unwrap();
    let image = import(dir.path(), &bytes, |archive| archive).await.unwrap();
    let again = import(dir.path(), &bytes, |archive| archive.reference("shop/backend:v1")).await.unwrap();
    assert_eq!(image, again);
    let path = image.layout.join("blobs/sha256").join(image.digest.to_hex());
    let index: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let platforms: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|one| one["platform"]["architecture"].clone()).collect();
    assert_eq!(platforms, ["s390x", "arm64"]);
    assert_eq!(image.platform, Platform::new("linux", "s390x"));
}
