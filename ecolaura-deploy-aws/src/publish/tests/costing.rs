//! What a plan says that a publish takes, beside what it takes.

use ecolaura_deploy_core::cdn::{Prices, plan};

use super::*;

/// The writes and the reads that S3 charges for, among those that were asked.
fn asked(s3: &FakeS3) -> (usize, usize) {
    let log = s3.log();
    let is_list = |line: &&String| line.ends_with("?list-type");
    let writes =
        log.iter().filter(|line| line.starts_with("PUT") || line.starts_with("POST") && !line.ends_with("?delete"));
    let lists = log.iter().filter(is_list).count();
    let reads = log.iter().filter(|line| line.starts_with("GET") || line.starts_with("HEAD")).count();
    (writes.count() + lists, reads - lists)
}

/// The figures of the plan's first line of details: writes, reads, bytes, paths.
fn told(details: &[String]) -> Vec<usize> {
    let words = details[0].split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

pub(super) async fn planned_and_done(s3: &FakeS3, site: &PreparedSite) -> (Vec<usize>, (usize, usize)) {
    planned_and_done_by(&cdn(s3), s3, site).await
}

pub(super) async fn planned_and_done_by(cdn: &S3Cdn, s3: &FakeS3, site: &PreparedSite) -> (Vec<usize>, (usize, usize)) {
    let changes = plan(&cx(), cdn, site).await.unwrap();
    s3.clear_log();
    publish(&cx(), cdn, site, &PublishOptions::default()).await.unwrap();
    (told(&changes[0].details), asked(s3))
}

#[tokio::test]
async fn a_plan_tells_the_requests_that_its_publish_takes() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let headers = source(dir.path(), 2).header(HeaderRule::new("*.html", "content-language", "de"));
    let sites = [
        site(dir.path(), 1).await,
        source(dir.path(), 2).file("d/index.html", "folder").prepare(&cx()).await.unwrap(),
        headers.prepare(&cx()).await.unwrap(),
    ];
    for (number, site) in sites.iter().enumerate() {
        let (told, (writes, reads)) = planned_and_done(&s3, site).await;
        assert_eq!(told[0], writes, "publish {number}: {:?}", s3.log());
        assert!((reads..=reads + 4).contains(&told[1]), "publish {number}: told {}, asked {reads}", told[1]);
    }
}

#[tokio::test]
async fn a_plan_tells_what_is_stored_and_a_site_that_stays_costs_nothing() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = site(dir.path(), 1).await;
    let sizes: u64 = first.manifest().0.values().map(|object| object.size).sum();
    let pages: u64 = ["index.html", "404.html"].map(|key| first.manifest().0[key].size).iter().sum();
    let changes = plan(&cx(), &cdn(&s3).prices(Prices::us_east_1()), &first).await.unwrap();
    let details = &changes[0].details;
    assert_eq!(told(details)[2], usize::try_from(sizes + pages).unwrap(), "pages are stored and served: {details:?}");
    assert!(details[1].contains("us-east-1, April 2025"), "{details:?}");
    let unpriced = plan(&cx(), &cdn(&s3), &first).await.unwrap();
    assert_eq!(unpriced[0].details.len(), 1, "other stores have other prices");
    release(&s3, dir.path(), 1).await;
    let again = plan(&cx(), &cdn(&s3), &first).await.unwrap();
    assert!(again.iter().all(|change| !change.details.iter().any(|line| line.contains("requests"))), "{again:?}");
}

#[cfg(feature = "cloudfront")]
#[tokio::test]
async fn a_plan_tells_how_many_paths_caches_forget() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    let next = site(dir.path(), 2).await;
    let paths = async |cdn: &S3Cdn| told(&plan(&cx(), cdn, &next).await.unwrap()[0].details)[3];
    assert_eq!(paths(&cdn(&s3).distribution("E1")).await, 2, "/ and /index.html");
    assert_eq!(paths(&cdn(&s3)).await, 0, "nobody is before the bucket");
}
