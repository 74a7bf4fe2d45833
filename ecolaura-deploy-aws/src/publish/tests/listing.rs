//! Sites with more keys than a page of a listing has.

use std::time::Duration;

use super::*;

const ASSETS: u32 = 2100;

/// A site with one page that is published.
async fn published(s3: &FakeS3, dir: &Path) -> PreparedSite {
    for number in 0..ASSETS {
        fs::write(dir.join(asset(number)), number.to_string()).unwrap();
    }
    fs::write(dir.join("index.html"), "page").unwrap();
    let site = SiteSource::new(dir).prepare(&cx()).await.unwrap();
    let report = publish(&cx(), &cdn(s3), &site, &PublishOptions::default()).await.unwrap();
    assert_eq!(report.uploaded, u64::from(ASSETS) + 1);
    s3.clear_log();
    site
}

fn asset(number: u32) -> String {
    format!("a.{:08x}.js", 0xabcd_0000 + number)
}

fn lists(s3: &FakeS3) -> usize {
    s3.log().iter().filter(|line| line.ends_with("?list-type")).count()
}

#[tokio::test]
async fn a_release_with_more_keys_than_a_page_of_a_listing_is_served_whole() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let site = published(&s3, dir.path()).await;
    assert!(cdn(&s3).missing(&cx(), site.manifest()).await.unwrap().is_empty());
    assert_eq!(s3.log().len(), 6, "live, its manifest, three pages of served keys, one of contents: {:?}", s3.log());
}

#[tokio::test(start_paused = true)]
async fn the_pages_of_a_long_listing_do_not_wait_for_each_other() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let site = published(&s3, dir.path()).await;
    s3.fates(|line| if line.ends_with("?list-type") { Fate::Silence } else { Fate::Answered });
    let (cdn, cx) = (cdn(&s3), cx());
    let asked = tokio::time::timeout(Duration::from_secs(1), cdn.missing(&cx, site.manifest())).await;
    assert!(asked.is_err(), "no listing was answered");
    assert_eq!(lists(&s3), 4, "{:?}", s3.log());
}

#[tokio::test]
async fn what_is_gone_from_the_middle_of_a_long_listing_is_missed() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let site = published(&s3, dir.path()).await;
    // Where the listing is split, and beside it.
    let gone = [999, 1000, 1500].map(asset);
    for key in &gone {
        s3.take(&format!("site/{key}"));
    }
    assert_eq!(cdn(&s3).missing(&cx(), site.manifest()).await.unwrap(), gone);
}

#[tokio::test]
async fn what_others_put_between_the_pages_of_a_long_listing_does_no_harm() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let site = published(&s3, dir.path()).await;
    for number in 0..1500 {
        s3.plant(&format!("site/a.{:08x}.js", 0xabcd_0000_u64 * 16 + number), "theirs");
    }
    assert!(cdn(&s3).missing(&cx(), site.manifest()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_store_that_lists_in_an_order_of_its_own_is_listed_whole() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let site = published(&s3, dir.path()).await;
    s3.disorder();
    assert!(cdn(&s3).missing(&cx(), site.manifest()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_plan_tells_how_often_a_long_listing_is_asked() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    published(&s3, dir.path()).await;
    fs::write(dir.path().join("index.html"), "another page").unwrap();
    let site = SiteSource::new(dir.path()).prepare(&cx()).await.unwrap();
    let (told, (writes, _)) = super::costing::planned_and_done(&s3, &cdn(&s3), &site).await;
    assert_eq!(told[0], writes, "{:?}", s3.log());
}
