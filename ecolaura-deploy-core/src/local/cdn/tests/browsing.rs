//! The server, seen from browsers.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{
    local::cdn::{StaticServer, serve},
    vocabulary::Digest,
};

#[derive(Clone)]
struct Browser(Client<HttpConnector, Empty<Bytes>>, SocketAddr);

impl Browser {
    fn new(server: &StaticServer) -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http(), server.address())
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<String> {
        let mut request = Request::builder().method(method).uri(format!("http://{}/{path}", self.1));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, body) = self.0.request(request.body(Empty::new()).unwrap()).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Response::from_parts(parts, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> Response<String> {
        self.send("GET", path, &[]).await
    }
}

async fn server(dir: &Path) -> StaticServer {
    serve(dir.join("site"), ([127, 0, 0, 1], 0).into()).await.unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn files_are_served_with_their_headers() {
    let dir = tempfile::tempdir().unwrap();
    release(dir.path(), 1).await;
    let server = server(dir.path()).await;
    let browser = Browser::new(&server);
    let page = browser.get("").await;
    assert_eq!((page.status(), page.body().as_str()), (StatusCode::OK, "app.abcd1001.js logo.0123abcd.svg"));
    assert_eq!(header(page.headers(), "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(page.headers(), "cache-control"), "no-cache");
    let script = browser.get("app.abcd1001.js?v=1").await;
    assert_eq!(script.body(), "script 1");
    assert_eq!(header(script.headers(), "cache-control"), "public, max-age=31536000, immutable");

    let head = browser.send("HEAD", "index.html", &[]).await;
    assert_eq!((head.status(), head.body().as_str()), (StatusCode::OK, ""));
    assert_eq!(header(head.headers(), "content-length"), page.body().len().to_string());
    let tag = header(page.headers(), "etag");
    for known in [tag.to_owned(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let same = browser.send("GET", "", &[("if-none-match", &known)]).await;
        assert_eq!((same.status(), same.body().as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(header(same.headers(), "etag"), tag);
    }
    assert_eq!(browser.send("GET", "", &[("if-none-match", "\"x\"")]).await.status(), StatusCode::OK);
    assert_eq!(browser.send("POST", "", &[]).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    server.stop().await;
    assert!(TcpStream::connect(browser.1).await.is_err(), "the port is free again");
}

#[tokio::test]
async fn no_path_leads_out_of_the_release() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    release(dir.path(), 1).await;
    let server = server(dir.path()).await;
    for path in ["/../secret", "/..%2fsecret", "/%2e%2e/secret", "/./live", "/live", "//etc/passwd", "/%00", "/%ff"] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        assert!(answer.ends_with("no such page"), "{path}: {answer}");
    }
}

/// As a publish has it, by files in memory: what compresses is not needed to serve.
#[tokio::test]
async fn each_browser_gets_the_best_encoding_that_it_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path(), 1).await;
    let (mut manifest, mut files) = (site.manifest().clone(), site.files().clone());
    for (key, encoding) in [("index.html.br", "br"), ("index.html.gz", "gzip"), ("app.abcd1001.js.br", "br")] {
        let (path, original) = (dir.path().join(key), crate::cdn::variant_of(key).unwrap().0);
        fs::write(&path, encoding).unwrap();
        let mut object = manifest.0[original].clone();
        (object.digest, object.size) = (Digest::of(encoding), encoding.len() as u64);
        object.headers.insert("content-encoding".into(), encoding.into());
        manifest.0.insert(key.to_owned(), object);
        files.insert(key.to_owned(), path);
    }
    // Of what was too small it holds the same.
    manifest.0.insert("logo.0123abcd.svg.br".into(), manifest.0["logo.0123abcd.svg"].clone());
    files.insert("logo.0123abcd.svg.br".into(), files["logo.0123abcd.svg"].clone());
    publish(&cx(), &cdn(dir.path()), &PreparedSite::new(manifest, files), &PublishOptions::default()).await.unwrap();
    let server = server(dir.path()).await;
    let browser = Browser::new(&server);
    let asked = [("", "gzip, br", "br"), ("", "gzip", "gzip"), ("", "br;q=0, gzip", "gzip"), ("", "zstd", "")];
    for (path, accepted, encoding) in asked.into_iter().chain([("app.abcd1001.js", "gzip", "")]) {
        let answer = browser.send("GET", path, &[("accept-encoding", accepted)]).await;
        assert_eq!(header(answer.headers(), "content-encoding"), encoding, "{path} {accepted}");
        assert_eq!(header(answer.headers(), "vary"), "accept-encoding", "{path} {accepted}");
        assert_eq!(answer.body() == encoding, !encoding.is_empty(), "{path} {accepted}: {}", answer.body());
        assert_eq!(header(answer.headers(), "content-length"), answer.body().len().to_string());
    }
    let first = browser.send("GET", "", &[("accept-encoding", "br")]).await;
    let known = [("accept-encoding", "gzip"), ("if-none-match", header(first.headers(), "etag"))];
    assert_eq!(browser.send("GET", "", &known).await.status(), StatusCode::OK, "another encoding is another content");
    let logo = browser.send("GET", "logo.0123abcd.svg", &[("accept-encoding", "br")]).await;
    assert_eq!((logo.body().as_str(), header(logo.headers(), "vary")), ("logo", ""));
}

#[tokio::test]
async fn a_site_that_is_not_published_yet_is_404_and_a_broken_one_is_served_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path()).await;
    let browser = Browser::new(&server);
    assert_eq!(browser.get("").await.status(), StatusCode::NOT_FOUND);
    release(dir.path(), 1).await;
    assert_eq!(browser.get("").await.status(), StatusCode::OK);
    fs::write(dir.path().join("site/live"), "{").unwrap();
    assert_eq!(browser.get("").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let first = server(dir.path()).await;
    let error = serve(dir.path(), first.address()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.report().contains(&first.address().to_string()), "{}", error.report());
}

#[tokio::test]
async fn a_page_that_was_taken_away_is_gone_while_its_assets_stay() {
    let dir = tempfile::tempdir().unwrap();
    let with_page = SiteSource::new(site(dir.path(), 1).await.files()["index.html"].parent().unwrap());
    let with_page = with_page.file("old.html", "app.css").file("app.css", "a {}").prepare(&cx()).await.unwrap();
    publish(&cx(), &cdn(dir.path()), &with_page, &PublishOptions::default()).await.unwrap();
    release(dir.path(), 2).await;
    let server = server(dir.path()).await;
    let browser = Browser::new(&server);
    assert_eq!(browser.get("old.html").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(browser.get("app.css").await.status(), StatusCode::OK);
}

/// Browsers load the page at any moment and its assets some releases later, while releases are published and taken
/// back; five releases are kept. Nothing is published while somebody holds a page of three switches ago or more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_browser_misses_an_asset_over_publishes_and_switches() {
    let dir = tempfile::tempdir().unwrap();
    release(dir.path(), 0).await;
    let server = server(dir.path()).await;
    let clock = Arc::new(Turns::default());
    let browsers: Vec<_> =
        (0..4).map(|number| tokio::spawn(browse(Browser::new(&server), number, Arc::clone(&clock)))).collect();
    for number in 1..=20 {
        clock.wait_for(&browsers).await;
        release(dir.path(), number).await;
        clock.turn.fetch_add(1, Ordering::SeqCst);
        if number % 4 == 0 {
            switch_back(&cx(), &cdn(dir.path()), None).await.unwrap();
            clock.turn.fetch_add(1, Ordering::SeqCst);
        }
    }
    clock.over.store(true, Ordering::SeqCst);
    for browser in browsers {
        assert!(browser.await.unwrap() > 0);
    }
    server.stop().await;
}

/// Counts the switches of the site, and knows since which one each browser holds its page.
#[derive(Default)]
struct Turns {
    turn: AtomicU32,
    over: AtomicBool,
    held: [AtomicU32; 4],
}

impl Turns {
    /// One that ended has failed; the test says so at its end.
    async fn wait_for(&self, browsers: &[tokio::task::JoinHandle<u32>]) {
        let turn = self.turn.load(Ordering::SeqCst);
        let late = |since: &AtomicU32| since.load(Ordering::SeqCst) + 3 <= turn;
        while self.held.iter().any(late) && !browsers.iter().any(tokio::task::JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    }
}

/// Holds each page for up to two turns, then loads what it names. Answers how many pages it has seen whole.
async fn browse(browser: Browser, number: usize, clock: Arc<Turns>) -> u32 {
    let (mut pages, hold) = (0, u32::try_from(number % 3).unwrap());
    while !clock.over.load(Ordering::SeqCst) {
        let since = clock.turn.load(Ordering::SeqCst);
        clock.held[number].store(since, Ordering::SeqCst);
        let page = browser.get("").await;
        assert_eq!(page.status(), StatusCode::OK);
        while clock.turn.load(Ordering::SeqCst) < since + hold && !clock.over.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        for asset in page.body().split(' ') {
            let found = browser.get(asset).await;
            assert_eq!(found.status(), StatusCode::OK, "{asset}, of a page loaded at turn {since}");
        }
        pages += 1;
    }
    pages
}
