use std::fs;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    cdn::{HeaderRule, SiteSource, plan, switch_back},
    testing::fake::cdn_publisher::{CdnCall, FakeCdn},
    vocabulary::EnvironmentName,
};

fn cx() -> Context {
    Context::new(EnvironmentName::new("test").unwrap())
}

fn cdn() -> FakeCdn {
    FakeCdn::new(Name::new("web").unwrap())
}

/// A page and its two assets; `number` is in every content and hash but the logo's.
struct Dist(tempfile::TempDir);

impl Dist {
    fn new(number: u32) -> Self {
        let dist = Self(tempfile::tempdir().unwrap());
        let script = format!("app.{:08x}.js", 0xabcd_1230 + number);
        dist.write("index.html", &format!("{script} logo.0123abcd.svg {number}"));
        dist.write(&script, &format!("script {number}"));
        dist.write("logo.0123abcd.svg", "logo");
        dist
    }

    fn write(&self, key: &str, content: &str) {
        fs::write(self.0.path().join(key), content).unwrap();
    }

    fn source(&self) -> SiteSource {
        SiteSource::new(self.0.path())
    }

    async fn prepare(&self) -> PreparedSite {
        self.source().prepare(&cx()).await.unwrap()
    }
}

async fn release(cdn: &FakeCdn, number: u32) -> PublishReport {
    publish(&cx(), cdn, &Dist::new(number).prepare().await, &PublishOptions::default()).await.unwrap()
}

async fn planned(cdn: &FakeCdn, site: &PreparedSite) -> Vec<String> {
    plan(&cx(), cdn, site).await.unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn assets_go_first_pages_last_then_caches_forget() {
    let cdn = cdn();
    let first = release(&cdn, 1).await;
    assert_eq!((first.uploaded, first.previous), (3, None));
    assert_eq!(first.invalidated, ["/*"], "nobody knows what caches took from whoever served the site before");
    cdn.clear_calls();
    let dist = Dist::new(2);
    let site = dist.prepare().await;
    let lines = [
        "- cdn web/app.abcd1231.js: removed from pages",
        "+ cdn web/app.abcd1232.js: not found",
        "~ cdn web/index.html: content",
        "= cdn web/*: unchanged",
    ];
    assert_eq!(planned(&cdn, &site).await, lines);
    let report = publish(&cx(), &cdn, &site, &PublishOptions::default()).await.unwrap();
    assert_eq!((report.uploaded, report.previous), (2, Some(first.release)));
    let expected = [
        CdnCall::Sent("app.abcd1232.js".into()),
        CdnCall::Sent("index.html".into()),
        CdnCall::Activated(report.release),
        CdnCall::Invalidated(vec!["/".into(), "/index.html".into()]),
        CdnCall::Pruned(vec![]),
    ];
    assert_eq!(cdn.calls(), expected);
}

#[tokio::test]
async fn an_unchanged_site_writes_nothing_and_a_lost_object_is_sent_again() {
    let cdn = cdn();
    let dist = Dist::new(1);
    let site = dist.prepare().await;
    publish(&cx(), &cdn, &site, &PublishOptions::default()).await.unwrap();
    cdn.clear_calls();
    let report = publish(&cx(), &cdn, &site, &PublishOptions::default()).await.unwrap();
    assert!(cdn.calls().is_empty(), "{:?}", cdn.calls());
    assert_eq!((report.previous, report.uploaded), (Some(report.release), 0));
    assert_eq!(planned(&cdn, &site).await, ["= cdn web/*: unchanged"]);

    cdn.forget_content("logo.0123abcd.svg");
    assert!(planned(&cdn, &site).await.contains(&"+ cdn web/logo.0123abcd.svg: not found".to_owned()));
    publish(&cx(), &cdn, &site, &PublishOptions::default()).await.unwrap();
    assert_eq!(cdn.calls(), [CdnCall::Sent("logo.0123abcd.svg".into())]);
}

#[tokio::test]
async fn a_change_of_headers_alone_is_published() {
    let cdn = cdn();
    let dist = Dist::new(1);
    publish(&cx(), &cdn, &dist.prepare().await, &PublishOptions::default()).await.unwrap();
    cdn.clear_calls();
    let source = dist.source().header(HeaderRule::new("**", "x-content-type-options", "nosniff"));
    let site = source.prepare(&cx()).await.unwrap();
    assert!(planned(&cdn, &site).await.contains(&"~ cdn web/index.html: headers".to_owned()));
    let report = publish(&cx(), &cdn, &site, &PublishOptions::default()).await.unwrap();
    assert_eq!((report.uploaded, report.invalidated), (0, vec!["/".to_owned(), "/index.html".to_owned()]));
    assert_eq!(cdn.get("index.html").unwrap().0.headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn an_asset_that_is_missing_at_the_barrier_stops_before_pages_change() {
    let cdn = cdn();
    let first = release(&cdn, 1).await;
    cdn.clear_calls();
    cdn.lose("app.abcd1232.js");
    let error = publish(&cx(), &cdn, &Dist::new(2).prepare().await, &PublishOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::Partial));
    assert!(error.report().contains("`app.abcd1232.js`"), "{}", error.report());
    assert_eq!(cdn.calls(), [CdnCall::Sent("app.abcd1232.js".into())]);
    assert_eq!(cdn.history(&cx()).await.unwrap().live, Some(first.release));
}

#[tokio::test]
async fn a_file_that_changes_after_it_was_read_is_not_published() {
    let cdn = cdn();
    let first = release(&cdn, 1).await;
    let dist = Dist::new(2);
    let site = dist.prepare().await;
    dist.write("index.html", "still building");
    let error = publish(&cx(), &cdn, &site, &PublishOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.report().contains("index.html"), "{}", error.report());
    assert_eq!(cdn.history(&cx()).await.unwrap().live, Some(first.release));
}

#[tokio::test]
async fn a_name_for_ever_is_not_given_another_content() {
    let cdn = cdn();
    release(&cdn, 1).await;
    let dist = Dist::new(2);
    dist.write("logo.0123abcd.svg", "another");
    let site = dist.prepare().await;
    let error = publish(&cx(), &cdn, &site, &PublishOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::None));
    assert!(error.report().contains("`logo.0123abcd.svg`"), "{}", error.report());
    assert_eq!(plan(&cx(), &cdn, &site).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_cancel_deletes_nothing_and_changes_no_page() {
    let cdn = cdn();
    for number in 1..=3 {
        release(&cdn, number).await;
    }
    cdn.clear_calls();
    let token = CancellationToken::new();
    token.cancel();
    let options = PublishOptions::default().keep(2);
    let site = Dist::new(4).prepare().await;
    let error = publish(&cx().with_cancellation(token), &cdn, &site, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(cdn.calls().is_empty());
    assert_eq!(cdn.history(&cx()).await.unwrap().releases.len(), 3);
}

#[tokio::test]
async fn what_was_served_before_is_kept_however_few_are_wanted() {
    let cdn = cdn();
    let first = release(&cdn, 1).await;
    release(&cdn, 2).await;
    switch_back(&cx(), &cdn, Some(first.release)).await.unwrap();
    let options = PublishOptions::default().keep(0);
    let report = publish(&cx(), &cdn, &Dist::new(3).prepare().await, &options).await.unwrap();
    assert_eq!(report.pruned, ["app.abcd1232.js"]);
    switch_back(&cx(), &cdn, report.previous).await.unwrap();
    assert_eq!(cdn.history(&cx()).await.unwrap().live, Some(first.release));
}

#[tokio::test]
async fn a_resumed_publish_invalidates_what_the_switch_changed() {
    let cdn = cdn();
    release(&cdn, 1).await;
    release(&cdn, 2).await;
    cdn.clear_calls();
    let options = PublishOptions::default().resuming(true);
    let report = publish(&cx(), &cdn, &Dist::new(2).prepare().await, &options).await.unwrap();
    assert_eq!(report.invalidated, ["/", "/index.html"]);
    assert_eq!(cdn.calls(), [CdnCall::Invalidated(vec!["/".into(), "/index.html".into()])]);
}

#[tokio::test]
async fn attempts_of_one_step_share_a_reference_and_later_runs_do_not() {
    let cdn = cdn();
    release(&cdn, 1).await;
    release(&cdn, 2).await;
    cdn.clear_calls();
    let site = Dist::new(2).prepare().await;
    for (run, attempt) in [("run-1", 2), ("run-1", 3), ("run-2", 2)] {
        let cx = cx().with_run(run, 1).for_attempt("publish site", attempt, CancellationToken::new());
        publish(&cx, &cdn, &site, &PublishOptions::default()).await.unwrap();
    }
    assert_eq!(cdn.calls().len(), 2, "{:?}", cdn.calls());
}

#[tokio::test]
async fn switching_back_needs_a_release_that_is_kept() {
    let cdn = cdn();
    let first = release(&cdn, 1).await;
    let error = switch_back(&cx(), &cdn, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = switch_back(&cx(), &cdn, Some(Digest::of("other"))).await.unwrap_err();
    assert!(error.report().contains(&first.release.short()), "{}", error.report());
}

/// What a browser does: it holds the page of whichever release was live, and asks for the page's assets later.
#[tokio::test]
async fn no_page_ever_misses_an_asset_over_publishes_and_switches() {
    let cdn = cdn();
    let mut pages: Vec<String> = Vec::new();
    for number in 1..=12 {
        release(&cdn, number).await;
        if number % 3 == 0 {
            switch_back(&cx(), &cdn, None).await.unwrap();
        }
        let (_, page) = cdn.get("index.html").unwrap();
        pages.push(String::from_utf8(page.to_vec()).unwrap());
        // Pages of the last three moments are open; five releases are kept.
        for page in pages.iter().rev().take(3) {
            for asset in page.split(' ').filter(|word| word.contains('.')) {
                assert!(cdn.get(asset).is_some(), "{asset} is gone after release {number}");
            }
        }
    }
    assert!(cdn.get("app.abcd1231.js").is_none(), "old releases are pruned in the end");
}
