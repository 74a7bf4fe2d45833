use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ecolaura_deploy_core::{
    Context, Effect, ErrorKind,
    backend::{Activation, CdnPublisher, SiteObject, UploadRequest},
    cdn::{HeaderRule, PreparedSite, PublishOptions, PublishReport, SiteSource, publish, switch_back},
    testing::conformance::cdn_publisher::{Fixture, suite},
    vocabulary::{CacheControl, Digest, EnvironmentName, Name},
};
use tokio_util::sync::CancellationToken;

use super::{
    S3Cdn,
    fake::{BUCKET, FakeS3, Fate},
};

mod browsing;
mod costing;
mod expiring;
mod failing;
#[cfg(feature = "cloudfront")]
mod invalidating;
mod leftovers;
mod limits;
mod listing;
#[cfg(feature = "cloudfront")]
mod matrix;
#[cfg(feature = "key-value-store")]
mod pointing;
mod promising;
mod pruning;
mod sending;
#[cfg(feature = "cloudfront")]
mod serving;

fn cx() -> Context {
    Context::new(EnvironmentName::new("test").unwrap())
}

fn cdn(s3: &FakeS3) -> S3Cdn {
    S3Cdn::new(Name::new("web").unwrap(), s3.account(), BUCKET).prefix("site")
}

/// A page that names its assets, one of them new in each release.
async fn site(dir: &Path, number: u32) -> PreparedSite {
    source(dir, number).prepare(&cx()).await.unwrap()
}

fn source(dir: &Path, number: u32) -> SiteSource {
    let dist = dir.join(format!("dist-{number}"));
    fs::create_dir_all(&dist).unwrap();
    let script = script(number);
    fs::write(dist.join("index.html"), format!("{script} logo.0123abcd.svg")).unwrap();
    fs::write(dist.join("404.html"), "no such page").unwrap();
    fs::write(dist.join(script), format!("script {number}")).unwrap();
    fs::write(dist.join("logo.0123abcd.svg"), "logo").unwrap();
    SiteSource::new(dist)
}

fn script(number: u32) -> String {
    format!("app.{:08x}.js", 0xabcd_1000 + number)
}

async fn release(s3: &FakeS3, dir: &Path, number: u32) -> PublishReport {
    publish(&cx(), &cdn(s3), &site(dir, number).await, &PublishOptions::default()).await.unwrap()
}

fn text(s3: &FakeS3, key: &str) -> String {
    String::from_utf8(s3.object(key).unwrap_or_else(|| panic!("no object `{key}`")).content).unwrap()
}

/// Sends all files of a site, and switches to nothing.
async fn send(cdn: &dyn CdnPublisher, site: &PreparedSite) {
    for (key, object) in &site.manifest().0 {
        cdn.upload(&cx(), &UploadRequest::new(key, &site.files()[key], object.clone())).await.unwrap();
    }
}

/// Ends when the bucket was asked for `line`, before anybody hears of the answer.
async fn asked(s3: &FakeS3, line: &str) {
    while !s3.log().iter().any(|asked| asked == line) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_bucket_conforms() {
    suite(async || {
        let s3 = FakeS3::new();
        Fixture::new(Arc::new(cdn(&s3)), s3)
    })
    .await;
}

#[tokio::test]
async fn a_site_at_the_root_of_its_bucket_conforms() {
    suite(async || {
        let s3 = FakeS3::new();
        Fixture::new(Arc::new(cdn(&s3).prefix("")), s3)
    })
    .await;
}

#[tokio::test]
async fn a_second_publish_of_the_same_site_writes_nothing() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await;
    s3.clear_log();
    let again = release(&s3, dir.path(), 1).await;
    assert_eq!((first.uploaded, again.uploaded), (4, 0));
    let writes: Vec<_> =
        s3.log().into_iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD")).collect();
    assert_eq!(writes, [] as [&str; 0]);
}

#[tokio::test]
async fn what_is_served_has_its_headers_and_the_state_is_beside_it() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let rules =
        [HeaderRule::new("*.html", "content-language", "de"), HeaderRule::new("*.html", "x-frame-options", "DENY")];
    let source = rules.into_iter().fold(source(dir.path(), 1), SiteSource::header);
    let site = source.prepare(&cx()).await.unwrap();
    publish(&cx(), &cdn(&s3), &site, &PublishOptions::default()).await.unwrap();
    let page = s3.object("site/index.html").unwrap().headers;
    assert_eq!(page["content-type"], "text/html; charset=utf-8");
    assert_eq!(page["cache-control"], "no-cache");
    assert_eq!(page["content-language"], "de");
    assert_eq!(page["x-amz-meta-x-frame-options"], "DENY");
    let script = s3.object(&format!("site/{}", script(1))).unwrap().headers;
    assert_eq!(script["cache-control"], "public, max-age=31536000, immutable");
    let beside = s3.keys().into_iter().filter(|key| !key.starts_with("site/"));
    assert!(beside.into_iter().all(|key| key.starts_with(".ecolaura-deploy/web/")));
}

#[tokio::test]
async fn a_changed_header_alone_reaches_pages_and_assets() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    let changed = source(dir.path(), 1).header(HeaderRule::new("**", "content-language", "de"));
    let changed = changed.prepare(&cx()).await.unwrap();
    let report = publish(&cx(), &cdn(&s3), &changed, &PublishOptions::default()).await.unwrap();
    assert_eq!(report.uploaded, 0, "no content is sent");
    for key in ["index.html", "404.html", "logo.0123abcd.svg"] {
        let object = s3.object(&format!("site/{key}")).unwrap();
        assert_eq!(object.headers["content-language"], "de", "{key}");
    }
    assert_eq!(text(&s3, "site/logo.0123abcd.svg"), "logo");
    switch_back(&cx(), &cdn(&s3), None).await.unwrap();
    let logo = s3.object("site/logo.0123abcd.svg").unwrap();
    assert!(!logo.headers.contains_key("content-language"), "and back");
}

#[tokio::test]
async fn a_served_page_that_somebody_deleted_is_served_again_by_the_next_publish() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    s3.take("site/index.html");
    release(&s3, dir.path(), 1).await;
    assert!(text(&s3, "site/index.html").contains(&script(1)));
}

#[tokio::test]
async fn a_page_that_was_taken_away_is_gone_while_its_assets_stay() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let more = source(dir.path(), 1).file("old.html", "old.css").file("old.css", "a {}").prepare(&cx()).await.unwrap();
    publish(&cx(), &cdn(&s3), &more, &PublishOptions::default()).await.unwrap();
    release(&s3, dir.path(), 2).await;
    assert!(s3.object("site/old.html").is_none());
    assert!(s3.object("site/old.css").is_some());
    let pruned = cdn(&s3).prune(&cx(), 1).await.unwrap();
    assert_eq!(pruned, [script(1), "old.css".to_owned(), "old.html".to_owned()]);
    assert!(s3.object("site/old.css").is_none());
    assert!(s3.object(&format!("site/{}", script(1))).is_none());
    assert!(s3.object("site/logo.0123abcd.svg").is_some());
}

#[tokio::test]
async fn two_sites_do_not_share_a_state() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    let error = cdn(&s3).prefix("other").history(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.report().contains("site/") && error.report().contains("other/"), "{}", error.report());
}

#[tokio::test]
async fn what_is_corrupt_is_named_and_nothing_is_pruned_by_it() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await;
    release(&s3, dir.path(), 2).await;
    let key = format!(".ecolaura-deploy/web/releases/{}.json", first.release.to_hex());
    let good = text(&s3, &key);
    for bad in ["{", "{}", &good.replace("\"revalidate\"", "\"x\""), &good.replace("text/html", "text/htmx")] {
        assert_ne!(bad, good);
        s3.plant(&key, bad);
        let error = cdn(&s3).history(&cx()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{bad}");
        assert!(error.report().contains(&key), "{}", error.report());
    }
    let before = s3.keys();
    assert_eq!(cdn(&s3).prune(&cx(), 1).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(s3.keys(), before);
}

#[tokio::test]
async fn what_a_newer_program_wrote_is_left_as_it_is_and_no_reason_to_remove_anything() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await.release.to_hex();
    let (live, state) = (".ecolaura-deploy/web/live.json", ".ecolaura-deploy/web/releases");
    let (pointer, manifest) = (text(&s3, live), text(&s3, &format!("{state}/{first}.json")));
    let unknown_variant = manifest.replace("\"revalidate\"", "\"for_a_day\"");
    let unknown_field = manifest.replace("\"headers\":{}", "\"headers\":{},\"owner\":\"x\"");
    for (pointer, manifest) in [
        (pointer.replacen('{', "{\"schema\":2,", 1), manifest.clone()),
        (pointer.replacen("\"releases\":[", "\"releases\":[7,", 1), manifest.clone()),
        (pointer.clone(), unknown_variant),
        (pointer.clone(), unknown_field),
    ] {
        let id = Digest::of(&manifest).to_hex();
        s3.plant(live, &pointer.replace(&first, &id));
        s3.plant(&format!("{state}/{id}.json"), &manifest);
        let before = s3.keys();
        let error = cdn(&s3).history(&cx()).await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Unsupported && error.report().contains("newer program"),
            "{}",
            error.report()
        );
        assert!(!error.report().contains("remove"), "{}", error.report());
        assert_eq!(cdn(&s3).prune(&cx(), 1).await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(s3.keys(), before);
    }
    s3.plant(live, "{\"prefix\":");
    assert_eq!(cdn(&s3).history(&cx()).await.unwrap_err().kind(), ErrorKind::Corrupt);
}
