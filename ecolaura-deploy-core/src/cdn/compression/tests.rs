use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    path::Path,
};

use super::*;
use crate::{
    Context, ErrorKind,
    cdn::{HeaderRule, PreparedSite, SiteSource},
    vocabulary::{CacheControl, Digest},
};

fn cx() -> Context {
    Context::new("test".parse().unwrap())
}

/// Text that shrinks, of more than 64 KiB.
fn text(seed: &str) -> String {
    let lines: Vec<String> = (0..5000).map(|number| format!("{seed} says {number} and goes on")).collect();
    lines.join("\n")
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (key, content) in files {
        fs::write(dir.path().join(key), content).unwrap();
    }
    dir
}

async fn prepared(dir: &Path, rule: Compression) -> PreparedSite {
    SiteSource::new(dir).compress(rule).prepare(&cx()).await.unwrap()
}

fn brotli(content: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
    encoder.write_all(content).unwrap();
    encoder.into_inner()
}

fn unpacked(site: &PreparedSite, key: &str) -> Vec<u8> {
    let bytes = fs::read(&site.files()[key]).unwrap();
    let mut content = Vec::new();
    match site.manifest().0[key].headers.get("content-encoding").map(String::as_str) {
        Some("br") => _ = brotli::Decompressor::new(bytes.as_slice(), 4096).read_to_end(&mut content).unwrap(),
        Some("gzip") => _ = flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut content).unwrap(),
        other => panic!("{key}: {other:?}"),
    }
    content
}

#[tokio::test]
async fn variants_hold_the_same_content_under_the_headers_of_the_original() {
    let (script, page) = (text("script"), text("page"));
    let files = [("app.4f2a91c0.js", script.as_bytes()), ("index.html", page.as_bytes()), ("logo.png", &[7; 4096])];
    let dir = folder(&files);
    let source = SiteSource::new(dir.path()).header(HeaderRule::new("*.html", "content-language", "de"));
    let site = source.compress(Compression::new()).prepare(&cx()).await.unwrap();
    let keys: Vec<&str> = site.manifest().0.keys().map(String::as_str).collect();
    let expected = [
        "app.4f2a91c0.js",
        "app.4f2a91c0.js.br",
        "app.4f2a91c0.js.gz",
        "index.html",
        "index.html.br",
        "index.html.gz",
        "logo.png",
    ];
    assert_eq!(keys, expected, "a picture is left alone");
    for key in ["app.4f2a91c0.js.br", "app.4f2a91c0.js.gz"] {
        assert!(unpacked(&site, key) == script.as_bytes());
        let object = &site.manifest().0[key];
        assert_eq!(object.content_type, "text/javascript; charset=utf-8");
        assert!(!object.is_immutable() && object.cache_control.to_string() == "public, max-age=31536000");
        assert!(object.size < script.len() as u64 / 4);
        let bytes = fs::read(&site.files()[key]).unwrap();
        assert_eq!((object.digest, object.size), (Digest::of(&bytes), bytes.len() as u64));
    }
    let page = &site.manifest().0["index.html.br"];
    assert_eq!((page.cache_control, page.headers["content-language"].as_str()), (CacheControl::Revalidate, "de"));
    assert!(!site.manifest().0["index.html"].headers.contains_key("content-encoding"), "the original is for everybody");
}

#[tokio::test]
async fn the_same_files_make_the_same_release_in_any_place_and_order() {
    let files: BTreeMap<String, String> = (0..9).map(|n| (format!("{n}.css"), text(&(n / 2).to_string()))).collect();
    let mut releases = Vec::new();
    for _ in 0..3 {
        let dir = folder(&files.iter().map(|(key, text)| (key.as_str(), text.as_bytes())).collect::<Vec<_>>());
        releases.push(prepared(dir.path(), Compression::new()).await.release());
    }
    assert!(releases[0] == releases[1] && releases[1] == releases[2], "{releases:?}");
}

#[tokio::test]
async fn what_is_small_or_does_not_shrink_has_variants_that_hold_it_as_it_is() {
    let noise: Vec<u8> = (0..200_u32).flat_map(|n| Digest::of(n.to_le_bytes()).as_bytes().to_vec()).collect();
    let dir = folder(&[("small.css", b"a {}"), ("noise.wasm", &noise)]);
    let site = prepared(dir.path(), Compression::new().encodings([Encoding::Brotli])).await;
    assert_eq!(site.manifest().0.len(), 4);
    for (original, key) in [("small.css", "small.css.br"), ("noise.wasm", "noise.wasm.br")] {
        let (original, variant) = (&site.manifest().0[original], &site.manifest().0[key]);
        assert_eq!(original, variant, "{key}");
        assert_eq!(Digest::of(fs::read(&site.files()[key]).unwrap()), variant.digest);
    }
    let all = prepared(dir.path(), Compression::new().above(0).encodings([Encoding::Gzip]).extensions(["CSS"])).await;
    assert_eq!(all.manifest().0.keys().collect::<Vec<_>>(), ["noise.wasm", "small.css", "small.css.gz"]);
}

#[tokio::test]
async fn what_the_build_made_is_taken_if_it_holds_the_same() {
    let (script, made) = (text("script"), brotli(text("script").as_bytes()));
    let dir = folder(&[
        ("app.js", script.as_bytes()),
        ("app.js.br", &made),
        ("a.dat", b"data"),
        ("a.dat.br", &brotli(b"data")),
    ]);
    let site = prepared(dir.path(), Compression::new()).await;
    assert_eq!(site.manifest().0["app.js.br"].digest, Digest::of(&made));
    assert!(unpacked(&site, "app.js.gz") == script.as_bytes(), "the other one is made");
    assert_eq!(site.manifest().0["a.dat.br"].headers["content-encoding"], "br", "of any extension");

    let plain = SiteSource::new(dir.path()).prepare(&cx()).await.unwrap();
    assert!(plain.manifest().0["app.js.br"].headers.is_empty(), "without the rule it is a file as any other");
}

#[tokio::test]
async fn what_the_build_made_of_something_else_is_named_and_nothing_is_published() {
    let old = brotli(text("old").as_bytes());
    let mut endless = brotli(&vec![b'x'; 1 << 20]);
    endless.truncate(endless.len() - 1);
    let dir = folder(&[("a.js", text("new").as_bytes()), ("a.js.br", &old), ("b.js", b"b"), ("b.js.br", &endless)]);
    fs::write(dir.path().join("b.js.gz"), "no gzip").unwrap();
    let error = SiteSource::new(dir.path()).compress(Compression::new()).manifest(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for part in ["3 problems", "`a.js.br` does not hold what `a.js` does", "`b.js.br` does not", "`b.js.gz` does not"] {
        assert!(error.report().contains(part), "{part}: {}", error.report());
    }
}

#[tokio::test]
async fn a_source_makes_its_variants_once_and_they_go_with_it() {
    let dir = folder(&[("app.js", text("script").as_bytes())]);
    let source = SiteSource::new(dir.path()).compress(Compression::new());
    let first = source.prepare(&cx()).await.unwrap();
    let file = first.files()["app.js.br"].clone();
    let made = fs::metadata(&file).unwrap().modified().unwrap();
    let second = source.prepare(&cx()).await.unwrap();
    assert_eq!((first.release(), fs::metadata(&file).unwrap().modified().unwrap()), (second.release(), made));
    drop((source, first, second));
    assert!(!file.exists());
}

#[test]
fn the_function_names_what_the_rule_covers() {
    let rule = Compression::new().extensions(["js", "css"]);
    let source = rule.viewer_request();
    assert!(source.contains(r#"var extensions = ["css", "js"];"#), "{source}");
    assert!(source.contains(r#"var encodings = [["br", ".br"], ["gzip", ".gz"]];"#), "{source}");
    assert!(rule.viewer_request().len() < 10_000 && Compression::new().viewer_request().len() < 10_000);
    let only = rule.encodings([Encoding::Gzip]).viewer_request();
    assert!(only.contains(r#"var encodings = [["gzip", ".gz"]];"#), "{only}");
}
