use std::{fs, os::unix::fs::symlink};

use super::*;
use crate::{ErrorKind, vocabulary::CacheControl, vocabulary::EnvironmentName};

fn cx() -> Context {
    Context::new(EnvironmentName::new("test").unwrap())
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (key, content) in files {
        let path = dir.path().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

async fn refused(source: SiteSource) -> String {
    let error = source.manifest(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error.report()
}

#[tokio::test]
async fn a_site_is_its_files_with_headers_by_rule() {
    let dir = folder(&[("index.html", "<p>"), ("a/app.4f2a91c0.js", "x"), ("a/app.map", "m"), (".well-known/a", "w")]);
    symlink("app.4f2a91c0.js", dir.path().join("a/app.js")).unwrap();
    let source = SiteSource::new(dir.path())
        .header(HeaderRule::new("*.html", "X-Frame-Options", "DENY"))
        .content_type(".well-known/*", "text/plain")
        .cache(CacheRule::new("a/app.js", CacheControl::NoStore))
        .ignore("**/*.map")
        .expose(".well-known");
    let (manifest, files) = source.manifest(&cx()).await.unwrap();
    let keys: Vec<_> = manifest.0.keys().map(String::as_str).collect();
    assert_eq!(keys, [".well-known/a", "a/app.4f2a91c0.js", "a/app.js", "index.html"]);
    assert!(files.keys().eq(manifest.0.keys()));
    let page = &manifest.0["index.html"];
    assert_eq!((page.digest, page.size), (Digest::of("<p>"), 3));
    assert_eq!(
        (page.content_type.as_str(), page.cache_control),
        ("text/html; charset=utf-8", CacheControl::Revalidate)
    );
    assert_eq!(page.headers["x-frame-options"], "DENY");
    assert_eq!(manifest.0["a/app.js"].cache_control, CacheControl::NoStore);
    assert!(manifest.0["a/app.4f2a91c0.js"].is_immutable());
    assert_eq!(manifest.0[".well-known/a"].content_type, "text/plain");
}

#[tokio::test]
async fn files_in_memory_stand_before_those_of_the_folder() {
    let dir = folder(&[("index.html", "<p>"), ("config.json", "dev")]);
    let plain = SiteSource::new(dir.path());
    let staging = plain.clone().file("config.json", "staging");
    let prepared = staging.prepare(&cx()).await.unwrap();
    drop(staging);
    assert_eq!(fs::read(&prepared.files()["config.json"]).unwrap(), b"staging");
    assert_eq!(prepared.manifest().0["config.json"].digest, Digest::of("staging"));
    assert_ne!(plain.prepare(&cx()).await.unwrap().release(), prepared.release());
    let path = prepared.files()["config.json"].clone();
    drop(prepared);
    assert!(!path.exists(), "temporary files go with the last owner");
}

#[tokio::test]
async fn every_problem_is_named_at_once_and_nothing_outside_is_read() {
    let outside = folder(&[("secret", "s")]);
    let dir =
        folder(&[("index.html", ""), (".env", "KEY"), (".git/config", ""), ("a/Logo.svg", ""), ("a/logo.svg", "")]);
    let root = dir.path();
    symlink(outside.path().join("secret"), root.join("leak.txt")).unwrap();
    symlink(outside.path(), root.join("leaks")).unwrap();
    symlink(".env", root.join("env.txt")).unwrap();
    symlink("a", root.join("b")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    fs::write(root.join("bad\nname"), "").unwrap();
    {
        use std::os::unix::ffi::OsStrExt;
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"n\xff")), "").unwrap();
    }
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let source = SiteSource::new(root).file("../up", "").cache(CacheRule::new("a[", CacheControl::NoStore));
    let report = refused(source).await;
    let expected = [
        "13 problems",
        "`.env`: hidden",
        "`.git`: hidden",
        "`a/Logo.svg` and `a/logo.svg` differ only in case",
        "`leak.txt`: the symbolic link leaves the folder",
        "`leaks`: the symbolic link leaves the folder",
        "`env.txt`: the symbolic link leads to a hidden file",
        "`b`: the symbolic link leads to something else than a file",
        "`dangling`: the symbolic link leads nowhere",
        r"`bad\nname`: the name holds a control character",
        "the name is not UTF-8",
        "`socket`: neither a file nor a folder",
        "`../up`: a key is a relative path",
        "glob `a[`",
    ];
    for problem in expected {
        assert!(report.contains(problem), "{problem}\n{report}");
    }
}

#[tokio::test]
async fn two_names_that_look_the_same_are_refused_and_can_be_told_apart() {
    let dir = folder(&[("u\u{308}.html", ""), ("\u{fc}.html", "")]);
    let report = refused(SiteSource::new(dir.path())).await;
    assert!(report.contains(r"`u\u{308}.html` and `\u{fc}.html` differ only in how Unicode writes"), "{report}");
    let dir = folder(&[("u\u{308}.html", ""), ("u.html", "")]);
    assert_eq!(SiteSource::new(dir.path()).prepare(&cx()).await.unwrap().files().len(), 2);
}

#[tokio::test]
async fn an_empty_or_missing_folder_is_not_a_site() {
    let dir = folder(&[]);
    assert!(refused(SiteSource::new(dir.path())).await.contains("there is no file in it"));
    let error = SiteSource::new(dir.path().join("dist")).manifest(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.report().contains("dist") && error.report().contains("build the site first"), "{}", error.report());
}

mod remembering {
    use std::{fs::File, os::unix::fs::MetadataExt as _, sync::Arc};

    use jiff::ToSpan as _;

    use super::*;
    use crate::clock::{Clock as _, FixedClock, SystemClock};

    /// So long after files were written that their times tell of every later write.
    fn later() -> Context {
        let now = SystemClock.now().checked_add(1.hour()).unwrap();
        cx().with_clock(Arc::new(FixedClock::new(now)))
    }

    async fn digest(cx: &Context, source: &SiteSource) -> Digest {
        source.manifest(cx).await.unwrap().0.0["index.html"].digest
    }

    /// A site that was read, and its memory, in which another digest stands than that of the file: who answers with that one
    /// has not read the file.
    async fn remembered(dir: &tempfile::TempDir) -> (SiteSource, PathBuf) {
        let memory = dir.path().join("memory/web.json");
        let source = SiteSource::new(dir.path().join("web")).remember(&memory);
        assert_eq!(digest(&later(), &source).await, Digest::of("one"));
        let text = fs::read_to_string(&memory).unwrap();
        fs::write(&memory, text.replace(&Digest::of("one").to_hex(), &Digest::of("other").to_hex())).unwrap();
        (source, memory)
    }

    #[tokio::test]
    async fn what_did_not_change_is_not_read_again() {
        let dir = folder(&[("web/index.html", "one")]);
        let (source, _) = remembered(&dir).await;
        for _ in 0..2 {
            assert_eq!(digest(&later(), &source).await, Digest::of("other"));
        }
    }

    #[tokio::test]
    async fn what_changed_is_read_even_if_its_size_and_time_did_not() {
        let dir = folder(&[("web/index.html", "one")]);
        let page = dir.path().join("web/index.html");
        let (source, _) = remembered(&dir).await;
        let before = fs::metadata(&page).unwrap();
        // The kernel's clock has steps, too.
        while fs::metadata(&page).unwrap().ctime_nsec() == before.ctime_nsec() {
            fs::write(&page, "two").unwrap();
            File::options().write(true).open(&page).unwrap().set_modified(before.modified().unwrap()).unwrap();
        }
        assert_eq!(digest(&later(), &source).await, Digest::of("two"));

        let (source, _) = {
            fs::write(&page, "one").unwrap();
            remembered(&dir).await
        };
        fs::write(dir.path().join("web/new"), "new").unwrap();
        fs::rename(dir.path().join("web/new"), &page).unwrap();
        assert_eq!(digest(&later(), &source).await, Digest::of("new"));
    }

    #[tokio::test]
    async fn what_was_just_written_is_not_remembered() {
        let dir = folder(&[("web/index.html", "one"), ("web/old.html", "old")]);
        let memory = dir.path().join("web.json");
        let source = SiteSource::new(dir.path().join("web")).remember(&memory);
        let written = SystemClock.now();
        let cx = cx().with_clock(Arc::new(FixedClock::new(written.checked_add(1.second()).unwrap())));
        digest(&cx, &source).await;
        assert!(!memory.exists(), "a write within the step of a coarse clock would not show");
    }

    #[tokio::test]
    async fn a_memory_that_is_damaged_or_cannot_be_kept_costs_time_only() {
        let dir = folder(&[("web/index.html", "one"), ("file", "")]);
        let (source, memory) = remembered(&dir).await;
        fs::write(&memory, r#"{"format":1,"files":{"#).unwrap();
        assert_eq!(digest(&later(), &source).await, Digest::of("one"));
        let source = source.remember(dir.path().join("file/below.json"));
        assert_eq!(digest(&later(), &source).await, Digest::of("one"));
    }

    #[tokio::test]
    async fn files_that_are_gone_are_forgotten() {
        let dir = folder(&[("web/index.html", "one"), ("web/old.html", "old")]);
        let (source, memory) = remembered(&dir).await;
        assert!(fs::read_to_string(&memory).unwrap().contains("old.html"));
        fs::remove_file(dir.path().join("web/old.html")).unwrap();
        digest(&later(), &source).await;
        assert!(!fs::read_to_string(&memory).unwrap().contains("old.html"));
    }
}
