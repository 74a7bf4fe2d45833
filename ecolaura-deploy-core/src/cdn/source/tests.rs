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
async fn an_empty_or_missing_folder_is_not_a_site() {
    let dir = folder(&[]);
    assert!(refused(SiteSource::new(dir.path())).await.contains("there is no file in it"));
    let error = SiteSource::new(dir.path().join("dist")).manifest(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.report().contains("dist") && error.report().contains("build the site first"), "{}", error.report());
}
