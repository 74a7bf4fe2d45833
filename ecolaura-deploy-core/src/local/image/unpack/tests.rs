use std::{
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::Arc,
};

use serde_json::json;

use super::*;
use crate::{
    backend::{ImageBuilder as _, ImageEntry, ImageSpec},
    local::{image::LayoutBuilder, oci::Layout, registry::LayoutRegistry},
    vocabulary::{BuiltImage, Platform},
};

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

/// Kind, path, and content or target.
type Item<'a> = (tar::EntryType, &'a str, &'a str);

const FILE: tar::EntryType = tar::EntryType::Regular;
const FOLDER: tar::EntryType = tar::EntryType::Directory;
const LINK: tar::EntryType = tar::EntryType::Symlink;
const HARD: tar::EntryType = tar::EntryType::Link;

fn layer(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, text) in items {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(if *kind == FOLDER { 0o555 } else { 0o6640 });
        // Written as they are: a well-behaved builder refuses some of these.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        let content: &[u8] = if *kind == FILE { text.as_bytes() } else { b"" };
        if *kind == LINK || *kind == HARD {
            header.set_link_name_literal(text).unwrap();
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

struct Bench {
    dir: tempfile::TempDir,
    registry: LayoutRegistry,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let registry = LayoutRegistry::new(dir.path().join("registry"), "registry".parse().unwrap());
        Self { dir, registry }
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("run/root")
    }

    /// Pushes an image of these layers; every other one is compressed.
    async fn push(&self, layers: &[Vec<u8>]) -> PinnedImage {
        let layout = Layout::new(self.dir.path().join("source"));
        let _writing = layout.writing(&cx(), "test", oci::Sweep::Partial).await.unwrap();
        let store = |kind: &str, bytes: &[u8]| layout.store("test", kind, bytes).unwrap();
        let diff_ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
        let blobs = layers.iter().enumerate().map(|(index, tar)| match index % 2 {
            0 => store("application/vnd.oci.image.layer.v1.tar", tar),
            _ => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(tar).unwrap();
                store(oci::LAYER, &encoder.finish().unwrap())
            }
        });
        let blobs: Vec<Descriptor> = blobs.collect();
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/app"], "Env": ["A=b=c"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = store(oci::CONFIG, config.to_string().as_bytes());
        let manifest = oci::write("test", &Manifest::new(config, blobs)).unwrap();
        let image = store(oci::MANIFEST, &manifest);
        let image = BuiltImage::new(layout.dir(), image.digest, Platform::current(), 0);
        self.registry.push(&cx(), &image, &"a/b".parse().unwrap()).await.unwrap()
    }

    async fn unpack(&self, layers: &[&[Item<'_>]]) -> Result<ImageConfig> {
        let layers: Vec<_> = layers.iter().map(|items| layer(items)).collect();
        let image = self.push(&layers).await;
        unpack(&cx(), &self.registry, &image, &self.target()).await
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.target().join(path)).ok()
    }

    /// Everything below the folder in which images are unpacked, but for locks.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path().join("run")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned());
        names.filter(|name| name != ".root.lock").collect()
    }
}

#[tokio::test]
async fn layers_are_applied_in_order_with_whiteouts() {
    let bench = Bench::new();
    let config = bench
        .unpack(&[
            &[
                (FOLDER, "etc/", ""),
                (FILE, "etc/a", "1"),
                (FILE, "etc/b", "1"),
                (FILE, "old/x", "1"),
                (FILE, "old/deep/y", "1"),
                (FOLDER, "usr/", ""),
                (FOLDER, "usr/bin/", ""),
                (LINK, "bin", "/usr/bin"),
                (FILE, "file", "1"),
            ],
            &[
                (FILE, "etc/.wh.a", ""),
                (FILE, "./etc/b", "2"),
                (FILE, "old/new", "2"),
                (FILE, "old/.wh..wh..opq", ""),
                (FILE, "bin/sh", "sh"),
                (HARD, "usr/bin/bash", "bin/sh"),
                (FOLDER, "file/", ""),
                (FILE, "file/in", "2"),
                (FILE, "old/deep/z", "2"),
            ],
        ])
        .await
        .unwrap();
    assert_eq!((config.entrypoint, config.env["A"].as_str()), (vec!["/app".to_owned()], "b=c"));
    assert_eq!(bench.read("etc/a"), None);
    for (path, content) in [
        ("etc/b", "2"),
        ("old/new", "2"),
        ("usr/bin/sh", "sh"),
        ("usr/bin/bash", "sh"),
        ("file/in", "2"),
        ("old/deep/z", "2"),
    ] {
        assert_eq!(bench.read(path).as_deref(), Some(content), "{path}");
    }
    for hidden in ["old/x", "old/deep/y", "etc/.wh.a", "old/.wh..wh..opq"] {
        assert_eq!(bench.read(hidden), None, "{hidden}");
    }
    let mode = |path: &str| fs::symlink_metadata(bench.target().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("etc/b"), mode("etc")), (0o640, 0o755), "no set-user-id bit; folders can be removed again");
    assert_eq!(fs::read_link(bench.target().join("bin")).unwrap(), Path::new("/usr/bin"));
}

#[tokio::test]
async fn entries_do_not_leave_the_folder() {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    let absolute = outside.to_str().unwrap();
    let climbing = "../../outside";
    let cases: &[(&[Item<'_>], &str)] = &[
        (&[(FILE, "../evil", "x")], "holds `..`"),
        (&[(FILE, "a/../../evil", "x")], "holds `..`"),
        (&[(LINK, "out", climbing), (FILE, "out/evil", "x")], "out of the image"),
        (&[(LINK, "out", climbing), (FILE, "out/.wh.kept", "")], "out of the image"),
        (&[(HARD, "stolen", "../../outside/kept")], "holds `..`"),
        (&[(LINK, "out", climbing), (HARD, "stolen", "out/kept")], "out of the image"),
        (&[(LINK, "me", "me"), (FILE, "me/x", "x")], "40 links"),
        (&[(FILE, "file", ""), (FILE, "file/x", "x")], "no folder"),
        (&[(HARD, "a", "missing")], "hard link to `missing`"),
    ];
    for (items, expected) in cases {
        let error = bench.unpack(&[items]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(error.report().contains(expected), "{}", error.report());
        assert_eq!(bench.left(), [""; 0], "{items:?}");
    }
    // An absolute link counts from the top of the image, as in a container.
    bench
        .unpack(&[&[(LINK, "out", absolute), (FILE, "out/evil", "x"), (LINK, "over", absolute), (FILE, "over", "y")]])
        .await
        .unwrap();
    assert_eq!(bench.read(&format!("{}/evil", absolute.trim_start_matches('/'))).as_deref(), Some("x"));
    assert_eq!(bench.read("over").as_deref(), Some("y"), "a link is replaced, not written through");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
}

#[tokio::test]
async fn a_second_call_does_nothing_and_another_image_is_refused() {
    let bench = Bench::new();
    let first = bench.push(&[layer(&[(FILE, "a", "1")])]).await;
    let second = bench.push(&[layer(&[(FILE, "a", "2")])]).await;
    let config = unpack(&cx(), &bench.registry, &first, &bench.target()).await.unwrap();
    // What processes wrote meanwhile stays, and the registry is not needed.
    fs::write(bench.target().join("state"), "kept").unwrap();
    fs::remove_dir_all(bench.dir.path().join("registry")).unwrap();
    assert_eq!(unpack(&cx(), &bench.registry, &first, &bench.target()).await.unwrap(), config);
    assert_eq!(bench.read("state").as_deref(), Some("kept"));
    let error = unpack(&cx(), &bench.registry, &second, &bench.target()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.report().contains(&first.digest.to_string()), "{}", error.report());
    let other = bench.dir.path().join("source");
    assert_eq!(unpack(&cx(), &bench.registry, &first, &other).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn many_at_once_unpack_one() {
    let bench = Bench::new();
    let image = bench.push(&[layer(&[(FILE, "a", &"x".repeat(100_000))])]).await;
    fs::create_dir_all(bench.dir.path().join("run/.root.77-3.partial/half")).unwrap();
    fs::create_dir_all(bench.dir.path().join("run/.root.other.77-3.partial")).unwrap();
    let (cx, target) = (cx(), bench.target());
    let calls = (0..8).map(|_| unpack(&cx, &bench.registry, &image, &target));
    futures_util::future::try_join_all(calls).await.unwrap();
    let mut left = bench.left();
    left.sort();
    assert_eq!(left, [".root.other.77-3.partial", "root"]);
}

#[tokio::test]
async fn damage_is_found_before_anything_appears() {
    let bench = Bench::new();
    let tar = layer(&[(FILE, "a", &"x".repeat(100_000))]);
    let image = bench.push(&[tar.clone(), layer(&[(FILE, "b", &"y".repeat(100_000))])]).await;
    let path = Layout::new(bench.dir.path().join("registry/a+b")).blob(Digest::of(&tar));
    let good = fs::read(&path).unwrap();
    for (at, value) in [(0, b'z'), (70_000, b'z')] {
        let mut bad = good.clone();
        bad[at] = value;
        fs::write(&path, &bad).unwrap();
        let error = unpack(&cx(), &bench.registry, &image, &bench.target()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(error.report().contains(path.to_str().unwrap()), "{}", error.report());
        assert_eq!(bench.left(), [""; 0]);
    }
    fs::write(&path, &good).unwrap();
    unpack(&cx(), &bench.registry, &image, &bench.target()).await.unwrap();
}

#[tokio::test]
async fn what_was_built_comes_out_again() {
    let bench = Bench::new();
    let top = bench.dir.path().join("top");
    fs::create_dir_all(top.join("bin")).unwrap();
    fs::write(top.join("bin/app"), "app").unwrap();
    fs::set_permissions(top.join("bin/app"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("bin/app", top.join("current")).unwrap();
    let spec = ImageSpec::new(Platform::current())
        .layer([ImageEntry::new(&top, "/")])
        .entrypoint(["/current"])
        .env("A", "1")
        .label("l", "m")
        .user("65532:65532")
        .port("8080/tcp");
    let builder = LayoutBuilder::new(bench.dir.path().join("images"), "builder".parse().unwrap());
    let image = builder.build(&cx(), &spec).await.unwrap();
    let image = bench.registry.push(&cx(), &image, &"a/b".parse().unwrap()).await.unwrap();
    let registry: Arc<dyn Registry> = Arc::new(bench.registry.clone());
    let config = unpack(&cx(), registry.as_ref(), &image, &bench.target()).await.unwrap();
    assert_eq!(bench.read("current").as_deref(), Some("app"));
    assert_eq!(fs::metadata(bench.target().join("bin/app")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!((config.entrypoint, config.env, config.labels), (spec.entrypoint, spec.env, spec.labels));
    assert_eq!((config.user, config.ports, config.working_dir), (spec.user, spec.ports, None));
}
