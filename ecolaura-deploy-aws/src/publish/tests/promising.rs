//! Names that promise one content for ever, in one release and not in another.

use ecolaura_deploy_core::cdn::{CacheRule, plan};

use super::*;

const LOGO: &str = "logo.0123abcd.svg";

/// The site with `content` in the logo's place, served with `cache`.
async fn with_logo(dir: &Path, number: u32, content: &'static str, cache: CacheControl) -> PreparedSite {
    let source = source(dir, number).file(LOGO, content).cache(CacheRule::new("*.svg", cache));
    source.prepare(&cx()).await.unwrap()
}

fn writes(s3: &FakeS3) -> Vec<String> {
    s3.log().into_iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD")).collect()
}

#[tokio::test]
async fn a_name_that_was_or_becomes_immutable_keeps_its_content_while_a_release_has_it() {
    use CacheControl::{Immutable, Revalidate};
    for (before, after) in [(Immutable, Revalidate), (Revalidate, Immutable), (Immutable, Immutable)] {
        let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
        let (first, second) =
            (with_logo(dir.path(), 1, "one", before).await, with_logo(dir.path(), 1, "two", after).await);
        publish(&cx(), &cdn(&s3), &first, &PublishOptions::default()).await.unwrap();
        let between = with_logo(dir.path(), 2, "one", before).await;
        publish(&cx(), &cdn(&s3), &between, &PublishOptions::default()).await.unwrap();
        s3.clear_log();
        let planned = plan(&cx(), &cdn(&s3), &second).await.unwrap_err();
        let published = publish(&cx(), &cdn(&s3), &second, &PublishOptions::default()).await.unwrap_err();
        for error in [planned, published] {
            assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::None));
            assert!(error.report().contains(LOGO) && error.report().contains("another name"), "{}", error.report());
        }
        assert_eq!(writes(&s3), [] as [&str; 0]);
    }
}

#[tokio::test]
async fn a_promise_alone_can_change_and_goes_with_the_last_release_that_made_it() {
    use CacheControl::{Immutable, Revalidate};
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let options = PublishOptions::default().keep(2);
    let first = with_logo(dir.path(), 1, "one", Immutable).await;
    publish(&cx(), &cdn(&s3), &first, &options).await.unwrap();
    let same = with_logo(dir.path(), 1, "one", Revalidate).await;
    publish(&cx(), &cdn(&s3), &same, &options).await.unwrap();
    switch_back(&cx(), &cdn(&s3), Some(first.release())).await.unwrap();
    assert_eq!(text(&s3, &format!("site/{LOGO}")), "one");
    for number in [2, 3] {
        fs::remove_file(source(dir.path(), number).dir().join(LOGO)).unwrap();
        let without = SiteSource::new(dir.path().join(format!("dist-{number}"))).prepare(&cx()).await.unwrap();
        publish(&cx(), &cdn(&s3), &without, &options).await.unwrap();
    }
    let other = with_logo(dir.path(), 1, "two", Revalidate).await;
    publish(&cx(), &cdn(&s3), &other, &options).await.unwrap();
    assert_eq!(text(&s3, &format!("site/{LOGO}")), "two");
}
