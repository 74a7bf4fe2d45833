//! What S3 would refuse is refused before anything is written.

use ecolaura_deploy_core::{
    Error,
    backend::SiteManifest,
    cdn::{CacheRule, plan},
};

use super::*;

const HUGE: u64 = 6 * 1024 * 1024 * 1024;

/// A release of one object, of which nothing is read.
fn single(key: &str, size: u64, cache: CacheControl, headers: &[(&str, &str)]) -> PreparedSite {
    let mut object = SiteObject::new(Digest::of(key), size, "text/css", cache);
    object.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let manifest = SiteManifest([(key.to_owned(), object)].into());
    PreparedSite::new(manifest, [(key.to_owned(), "nowhere".into())].into())
}

/// What planning, publishing and switching say, which write nothing.
async fn refused(s3: &FakeS3, cdn: &dyn CdnPublisher, site: &PreparedSite) -> String {
    s3.clear_log();
    let planned = plan(&cx(), cdn, site).await.unwrap_err();
    let published = publish(&cx(), cdn, site, &PublishOptions::default()).await.unwrap_err();
    for error in [&planned, &published] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::None), "{error:?}");
    }
    let writes = s3.log().into_iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD"));
    assert_eq!(writes.collect::<Vec<_>>(), [] as [&str; 0]);
    Error::report(&planned)
}

#[tokio::test]
async fn long_keys_and_headers_reserved_names_and_large_copies_are_refused_by_the_plan() {
    use CacheControl::{Immutable, Revalidate};
    let s3 = FakeS3::new();
    let (policy, long, named) = ("x".repeat(2000), "k".repeat(1020), "n".repeat(6150));
    for (site, told) in [
        (single("a.css", 1, Revalidate, &[("content-security-policy", &policy)]), "`a.css`: its headers that S3"),
        (single("a.css", 1, Immutable, &[("content-security-policy", &policy)]), "bytes as metadata, at most 2048"),
        (single("a.css", 1, Revalidate, &[("content-disposition", &named)]), "its headers take 6"),
        (single(&long, 1, Immutable, &[]), "its whole key has 1025 bytes"),
        (single("a.css", HUGE, Revalidate, &[]), "is copied, at most 5368709120"),
        (single("a.css", 1, Revalidate, &[("sha256", "0")]), "header `sha256` is the publisher's own"),
        (single("a.css", 1, Revalidate, &[("ecolaura-site", "w")]), "header `ecolaura-site`"),
        (single("a.css", 1, Revalidate, &[("ecolaura-object", "0")]), "header `ecolaura-object`"),
        (single("a.css", 1, Revalidate, &[("expires", "soon")]), "`soon` is no date of HTTP"),
    ] {
        let report = refused(&s3, &cdn(&s3), &site).await;
        assert!(report.contains(told), "{told}: {report}");
    }
    assert!(plan(&cx(), &cdn(&s3), &single("a.css", HUGE, Immutable, &[])).await.is_ok(), "it is not copied");
    assert!(plan(&cx(), &cdn(&s3), &single(&long[1..], 1, Immutable, &[])).await.is_ok());
}

#[tokio::test]
async fn all_problems_are_named_at_once() {
    let s3 = FakeS3::new();
    let mut site =
        single("a.css", HUGE, CacheControl::NoStore, &[("sha256", "0"), ("expires", "soon")]).manifest().clone();
    site.0.extend(single(&"k".repeat(1020), 1, CacheControl::NoStore, &[]).manifest().0.clone());
    let report = refused(&s3, &cdn(&s3), &PreparedSite::new(site, [].into())).await;
    for told in ["4 problems", "is copied", "`sha256`", "`soon`", "1025 bytes"] {
        assert!(report.contains(told), "{told}: {report}");
    }
}

#[tokio::test]
async fn a_switch_to_what_does_not_fit_changes_nothing_of_what_is_served() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await;
    let mut wrong = site(dir.path(), 1).await.manifest().clone();
    let page = wrong.0.get_mut("index.html").unwrap();
    page.headers.insert("content-security-policy".into(), "x".repeat(2000));
    let before = text(&s3, ".ecolaura-deploy/web/live.json");
    let error = cdn(&s3).activate(&cx(), &Activation::new(wrong, Some(first.release))).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::None));
    assert_eq!(text(&s3, ".ecolaura-deploy/web/live.json"), before);
}

#[tokio::test]
async fn an_immutable_file_over_five_gibibytes_keeps_its_headers() {
    let (s3, site) = (FakeS3::new(), single("a.css", HUGE, CacheControl::Immutable, &[]));
    let error = cdn(&s3).fits("t", site.manifest(), |key, _| key == "a.css").unwrap_err();
    assert!(error.report().contains("`a.css`: it has 6442450944 bytes and is copied"), "{}", error.report());
    cdn(&s3).fits("t", site.manifest(), |_, _| false).unwrap();
}

#[tokio::test]
async fn metadata_up_to_the_limit_is_published() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let with = |length| source(dir.path(), 1).header(HeaderRule::new("*.html", "x-long", "x".repeat(length)));
    let fitting = with(1800).cache(CacheRule::new("*.css", CacheControl::NoStore)).prepare(&cx()).await.unwrap();
    publish(&cx(), &cdn(&s3), &fitting, &PublishOptions::default()).await.unwrap();
    assert_eq!(s3.object("site/index.html").unwrap().headers["x-amz-meta-x-long"].len(), 1800);
    refused(&s3, &cdn(&s3), &with(1900).prepare(&cx()).await.unwrap()).await;
}

#[cfg(feature = "key-value-store")]
#[tokio::test]
async fn a_folder_for_each_release_counts_and_everything_is_copied_there() {
    use crate::publish::PointerCdn;
    let s3 = FakeS3::new();
    let store = "arn:aws:cloudfront::111122223333:key-value-store/a1b2c3d4-5678-90ab-cdef-111111111111";
    let pointed = PointerCdn::new(Name::new("web").unwrap(), s3.account(), BUCKET, store).prefix("site");
    let long = single(&"k".repeat(960), 1, CacheControl::Immutable, &[]);
    assert!(refused(&s3, &pointed, &long).await.contains("its whole key has 1030 bytes"));
    plan(&cx(), &cdn(&s3), &long).await.unwrap();
    let huge = single("a.css", HUGE, CacheControl::Immutable, &[]);
    assert!(refused(&s3, &pointed, &huge).await.contains("is copied"));
}
