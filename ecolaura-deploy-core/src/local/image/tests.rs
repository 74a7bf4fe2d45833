use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{ErrorKind, backend::ImageEntry, local::oci::MANIFEST, vocabulary::Platform};

mod importing;
mod leftovers;
mod pipeline;
mod processes;

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

fn builder(dir: &Path) -> LayoutBuilder {
    LayoutBuilder::new(dir.join("images"), "builder".parse().unwrap())
}

fn spec() -> ImageSpec {
    ImageSpec::new(Platform::new("linux", "amd64"))
}

fn put(dir: &Path, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

/// What the layers of `image` hold: path to kind, mode, and content or target.
fn contents(image: &BuiltImage) -> Vec<BTreeMap<String, String>> {
    let layout = Layout::new(&image.layout);
    let read = |layer: &crate::local::oci::Descriptor| {
        let file = fs::File::open(layout.blob(layer.digest)).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            let (kind, mode) = (header.entry_type(), header.mode().unwrap());
            let target = entry.link_name().unwrap().map(|target| target.display().to_string());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, format!("{kind:?} {mode:o} {}", target.unwrap_or(content)).trim_end().to_owned())
        });
        entries.collect()
    };
    layout.manifest("test", image.digest).unwrap().layers.iter().map(read).collect()
}

fn blobs(dir: &Path) -> usize {
    fs::read_dir(dir.join("images/blobs/sha256")).map_or(0, Iterator::count)
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn conforms() {
    use std::sync::Arc;

    use crate::{
        local::registry::LayoutRegistry,
        testing::conformance::image_builder::{Fixture, suite},
    };
    suite(async || {
        let dir = tempfile::tempdir().unwrap();
        let registry = LayoutRegistry::new(dir.path().join("registry"), "registry".parse().unwrap());
        Fixture::new(Arc::new(builder(dir.path())), Arc::new(registry), dir)
    })
    .await;
}

#[tokio::test]
async fn entries_are_sorted_owned_by_root_and_have_their_folders() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    let program = put(&top, "run.sh", "#!");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    put(&top, "data/b", "b");
    put(&top, "data/a", "a");
    symlink("../else/where", top.join("data/link")).unwrap();
    let long = format!("data/{}", "long/".repeat(60) + "name");
    put(&top, &long, "deep");
    let spec = spec().layer([ImageEntry::new(&top, "/srv"), ImageEntry::new(&program, "/bin/run").mode(0o4755)]);
    let image = builder(dir.path()).build(&cx(), &spec).await.unwrap();
    let layers = contents(&image);
    let layer = &layers[0];
    let expect = [
        ("bin/", "Directory 755"),
        ("bin/run", "Regular 4755 #!"),
        ("srv/", "Directory 755"),
        ("srv/data/", "Directory 755"),
        ("srv/data/a", "Regular 644 a"),
        ("srv/data/link", "Symlink 777 ../else/where"),
        ("srv/run.sh", "Regular 755 #!"),
    ];
    for (path, what) in expect {
        assert_eq!(layer.get(path).map(String::as_str), Some(what), "{path}");
    }
    assert_eq!(layer.get(&format!("srv/{long}")).map(String::as_str), Some("Regular 644 deep"));
}

#[test]
fn the_digest_does_not_depend_on_time_place_or_processors() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 & 15).collect();
    let mut digests = Vec::new();
    for threads in [1, 2, 8] {
        let top = dir.path().join(format!("copy-{threads}"));
        put(&top, "big", &content);
        put(&top, "z", "z");
        let runtime =
            tokio::runtime::Builder::new_current_thread().max_blocking_threads(threads).enable_all().build().unwrap();
        let build = async {
            let spec = spec().layer([ImageEntry::new(&top, "/a")]).layer([ImageEntry::new(&top, "/b")]);
            builder(&top).build(&cx(), &spec).await
        };
        digests.push(runtime.block_on(build).unwrap().digest);
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    // Holds until the recipe, or what compresses, is changed on purpose: then every image is built anew.
    assert_eq!(digests[0].short(), "539dc8e7ec81");
}

#[tokio::test]
async fn what_cannot_be_in_an_image_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = put(dir.path(), "file", "");
    let marked = put(dir.path(), "marked/.wh.x", "");
    let socket = dir.path().join("socket/s");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let cases = [
        (vec![ImageEntry::new(&file, "/a"), ImageEntry::new(&marked, "/a")], "`/a` is given twice"),
        (vec![ImageEntry::new(&file, "/a"), ImageEntry::new(&file, "/a/b")], "`/a` is a file"),
        (vec![ImageEntry::new(marked.parent().unwrap(), "/a")], "`/a/.wh.x` would remove"),
        (vec![ImageEntry::new(socket.parent().unwrap(), "/a")], "socket/s` is neither"),
        (vec![ImageEntry::new(&file, "/a/")], "expected `/a/file`"),
        (vec![ImageEntry::new(&file, "/a").mode(0o20_000)], "mode 20000"),
    ];
    for (entries, expected) in cases {
        let error = builder(dir.path()).build(&cx(), &spec().layer(entries)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.report().contains(expected), "{}", error.report());
    }
    assert!(!dir.path().join("images").exists(), "nothing was written");
}

#[tokio::test]
async fn a_base_is_built_upon() {
    let dir = tempfile::tempdir().unwrap();
    let file = put(dir.path(), "file", "new");
    let root = dir.path().join("root");
    put(&root, "usr/bin/sh", "sh");
    put(&root, "tmp/x", "x");
    symlink("usr/bin", root.join("bin")).unwrap();
    let below = LayoutBuilder::new(dir.path().join("base"), "base".parse().unwrap());
    let lower = spec().layer([ImageEntry::new(&root, "/")]).env("PATH", "/bin").entrypoint(["/bin/sh"]).user("app");
    let base = below.build(&cx(), &lower).await.unwrap();
    let upper = |reference: &str| ImageSpec {
        base: Some((dir.path().join("base"), reference.to_owned())),
        ..spec().layer([
            ImageEntry::new(&file, "/bin/app"),
            ImageEntry::new(&file, "/tmp/y"),
            ImageEntry::new(&file, "/opt/z"),
        ])
    };
    let builder = builder(dir.path());
    let image = builder.build(&cx(), &upper(&base.digest.to_string())).await.unwrap();
    let layers = contents(&image);
    assert_eq!(layers.len(), 2);
    // `/bin` leads to `/usr/bin`; the folders that the base has are not touched.
    assert_eq!(layers[1].keys().map(String::as_str).collect::<Vec<_>>(), ["opt/", "opt/z", "tmp/y", "usr/bin/app"]);
    let layout = Layout::new(&image.layout);
    let config = layout.manifest("test", image.digest).unwrap().config.unwrap();
    let config = String::from_utf8(layout.document("test", config.digest).unwrap()).unwrap();
    assert!(config.contains("PATH=/bin") && config.contains("\"User\":\"app\""), "{config}");
    assert!(builder.exists(&cx(), &image).await.unwrap());

    let error = builder.build(&cx(), &upper("v9")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.report().contains("`v9`"), "{}", error.report());
    let folder =
        ImageSpec { layers: vec![vec![ImageEntry::new(&file, "/usr/bin")]], ..upper(&base.digest.to_string()) };
    let error = builder.build(&cx(), &folder).await.unwrap_err();
    assert!(error.report().contains("`/usr/bin` is a folder"), "{}", error.report());
    let arm = ImageSpec { platform: Platform::new("linux", "arm64"), ..upper(&base.digest.to_string()) };
    let error = builder.fingerprint(&cx(), &arm).await.unwrap_err();
    assert!(error.report().contains("expected linux/arm64"), "{}", error.report());
}

#[tokio::test]
async fn a_build_that_was_cut_short_leaves_nothing_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let big = put(dir.path(), "big", vec![7_u8; 40_000_000]);
    let small = put(dir.path(), "small", "x");
    let builder = builder(dir.path());
    let first = builder.build(&cx(), &spec().layer([ImageEntry::new(&small, "/a")])).await.unwrap();
    let before = blobs(dir.path());
    let token = CancellationToken::new();
    let cancelled = cx().with_cancellation(token.clone());
    let spec_big = spec().layer([ImageEntry::new(&small, "/b")]).layer([ImageEntry::new(&big, "/big")]);
    let build = builder.build(&cancelled, &spec_big);
    let stop = async {
        // The small layer is stored while the big one is still being packed.
        while blobs(dir.path()) == before {
            tokio::task::yield_now().await;
        }
        token.cancel();
    };
    let (built, ()) = futures_util::future::join(build, stop).await;
    assert_eq!(built.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(blobs(dir.path()) > before);
    put(&dir.path().join("images/incoming"), ".1-1.partial", "half");
    put(&dir.path().join("images/blobs/sha256"), "README", "not a blob");
    builder.build(&cx(), &spec().layer([ImageEntry::new(&small, "/a")])).await.unwrap();
    assert_eq!(blobs(dir.path()), before + 1, "blobs of the image, and what is no blob");
    assert_eq!(fs::read_dir(dir.path().join("images/incoming")).unwrap().count(), 0);
    assert!(builder.exists(&cx(), &first).await.unwrap());
}

#[tokio::test]
async fn a_layout_of_another_tool_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = put(dir.path(), "file", "x");
    let builder = builder(dir.path());
    let image = builder.build(&cx(), &spec().layer([ImageEntry::new(&file, "/a")])).await.unwrap();
    let layout = Layout::new(&image.layout);
    let mut index = layout.index("test").unwrap();
    index.manifests[0] = index.manifests[0].plain().annotated(crate::local::oci::REF_NAME, "theirs");
    fs::write(dir.path().join("images/index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    let one = builder.clone().keep(NonZeroUsize::MIN);
    for text in ["1", "2", "3"] {
        one.build(&cx(), &spec().env("A", text)).await.unwrap();
    }
    let index = layout.index("test").unwrap();
    assert_eq!(index.manifests.len(), 2);
    assert_eq!(index.tagged("theirs").map(|entry| entry.media_type.as_str()), Some(MANIFEST));
    assert!(builder.exists(&cx(), &image).await.unwrap());
}

#[tokio::test]
async fn an_image_without_its_bill_or_a_blob_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let lock = put(dir.path(), "Cargo.lock", "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n");
    let builder = builder(dir.path());
    let spec = spec().layer([ImageEntry::new(&lock, "/a")]).lock_file(&lock);
    let image = builder.build(&cx(), &spec).await.unwrap();
    let layout = Layout::new(&image.layout);
    let attached = layout.referrers("test", image.digest).unwrap();
    let layer = layout.manifest("test", image.digest).unwrap().layers[0].digest;
    for lost in [attached[0].1.digest, layer] {
        assert!(builder.exists(&cx(), &image).await.unwrap());
        fs::remove_file(layout.blob(lost)).unwrap();
        assert!(!builder.exists(&cx(), &image).await.unwrap());
        assert_eq!(builder.build(&cx(), &spec).await.unwrap(), image, "the next build mends it");
    }
}

#[tokio::test]
async fn a_file_that_changes_meanwhile_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let file = put(dir.path(), "file", "before");
    let inspected =
        Inspected::of(&cx(), "test", &spec().layer([ImageEntry::new(&file, "/a")]), &mut Problems::default());
    for content in ["shorter", "longer than it was", "bef"] {
        fs::write(&file, content).unwrap();
        let layers = inspected.as_ref().unwrap().layers.clone();
        let mut block = Vec::new();
        let error = stream::TarStream::new("test", layers[0].clone()).fill(&mut block, 4096).unwrap_err();
        assert!(error.kind() == ErrorKind::Conflict && error.report().contains("file`"), "{}", error.report());
    }
}
