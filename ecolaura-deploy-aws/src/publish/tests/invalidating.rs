//! What `CloudFront` is asked to forget. The fake keeps to what AWS documents: one invalidation for each reference.

use std::time::Duration;

use ecolaura_deploy_core::backend::Invalidation;

use super::*;

fn before(s3: &FakeS3) -> S3Cdn {
    cdn(s3).distribution("E1")
}

fn wish(reference: &str) -> Invalidation {
    Invalidation::new(reference, vec!["/".into(), "/index.html".into()])
}

fn asked(s3: &FakeS3) -> usize {
    s3.log().iter().filter(|line| line.starts_with("POST") && line.contains("/invalidation")).count()
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_is_waited_for_and_asked_for_once_for_each_reference() {
    let s3 = FakeS3::new();
    s3.cloudfront().lasts = 5;
    before(&s3).invalidate(&cx(), &wish("a")).await.unwrap();
    assert_eq!(s3.cloudfront().invalidations["I1"].left, 0, "it was waited for");
    before(&s3).invalidate(&cx(), &wish("a")).await.unwrap();
    before(&s3).seen_below("/docs/").invalidate(&cx(), &wish("b")).await.unwrap();
    let paths: Vec<_> = s3.cloudfront().invalidations.values().map(|known| known.paths.clone()).collect();
    assert_eq!(paths, [vec!["/", "/index.html"], vec!["/docs/", "/docs/index.html"]]);
    before(&s3).seen_below("für alle").invalidate(&cx(), &wish("c")).await.unwrap();
    before(&s3).seen_below("a*b").invalidate(&cx(), &wish("d")).await.unwrap();
    let paths: Vec<_> = s3.cloudfront().invalidations.values().map(|known| known.paths.clone()).skip(2).collect();
    assert_eq!(paths, [vec!["/f%C3%BCr%20alle/", "/f%C3%BCr%20alle/index.html"], vec!["/a*"]]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_invalidation() {
    for fate in [Fate::Lost, Fate::Broken] {
        let s3 = FakeS3::new();
        let once = AtomicUsize::new(0);
        s3.fates(move |line| match line.starts_with("POST") && once.fetch_add(1, Ordering::SeqCst) == 0 {
            true => fate,
            false => Fate::Answered,
        });
        before(&s3).invalidate(&cx(), &wish("a")).await.unwrap();
        assert_eq!((asked(&s3), s3.cloudfront().invalidations.len()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn sixteen_at_once_wait_for_their_turn_and_are_all_done() {
    let s3 = FakeS3::new();
    s3.cloudfront().lasts = 20;
    let (cdn, cx) = (before(&s3), cx());
    let everything = |number: u32| Invalidation::new(number.to_string(), vec![format!("/{number}/*")]);
    let wishes: Vec<_> = (0..16).map(everything).collect();
    let all = futures_util::future::try_join_all(wishes.iter().map(|wish| cdn.invalidate(&cx, wish)));
    all.await.unwrap();
    assert_eq!(s3.cloudfront().invalidations.len(), 16);
    assert!(asked(&s3) > 16, "one was refused at first");
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_end_or_begin_is_a_timeout_that_says_that_the_switch_is_done() {
    for (lasts, files) in [(u32::MAX, 3000), (0, 0)] {
        let s3 = FakeS3::new();
        (s3.cloudfront().lasts, s3.cloudfront().files) = (lasts, files);
        let error =
            before(&s3).invalidated_within(Duration::from_mins(3)).invalidate(&cx(), &wish("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.report().contains("the switch is done") && error.report().contains("E1"), "{}", error.report());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cloudfront_does_not_answer_is_asked_again_and_told_when_the_patience_ends() {
    for (asked, effect) in [("POST 2020-05-31/", Effect::Unknown), ("GET 2020-05-31/", Effect::Complete)] {
        let s3 = FakeS3::new();
        let count = AtomicUsize::new(0);
        s3.fates(move |line| match line.starts_with(asked) && count.fetch_add(1, Ordering::SeqCst) < 10 {
            true => Fate::Refused(503, "ServiceUnavailable"),
            false => Fate::Answered,
        });
        before(&s3).invalidate(&cx(), &wish("a")).await.unwrap();
        assert_eq!(s3.cloudfront().invalidations.len(), 1);

        s3.fates(move |line| match line.starts_with(asked) {
            true => Fate::Refused(503, "ServiceUnavailable"),
            false => Fate::Answered,
        });
        let error = before(&s3).invalidate(&cx(), &wish("b")).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, effect), "{error:?}");
        for told in ["900 s", "status 503", "the switch is done", "E1"] {
            assert!(error.report().contains(told), "{told}: {}", error.report());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reference_for_other_paths_is_a_conflict_and_a_refusal_is_not_tried_again() {
    let s3 = FakeS3::new();
    before(&s3).invalidate(&cx(), &wish("a")).await.unwrap();
    let other = Invalidation::new("a", vec!["/*".into()]);
    assert_eq!(before(&s3).invalidate(&cx(), &other).await.unwrap_err().kind(), ErrorKind::Conflict);
    s3.clear_log();
    s3.fates(|line| match line.contains("/invalidation") {
        true => Fate::Refused(403, "AccessDenied"),
        false => Fate::Answered,
    });
    let error = before(&s3).invalidate(&cx(), &wish("b")).await.unwrap_err();
    assert_eq!((error.kind(), asked(&s3)), (ErrorKind::PermissionDenied, 1));
    assert!(error.report().contains("cloudfront:CreateInvalidation"), "{}", error.report());
}

#[tokio::test(start_paused = true)]
async fn names_that_cloudfront_does_not_take_are_forgotten_all_the_same() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    for number in 1..=2 {
        let content = number.to_string();
        let keys = ["runtime~main.js", "about(1).html", "logo@2x.png", "a b[c].html"];
        let source = keys.into_iter().fold(source(dir.path(), 1), |source, key| source.file(key, content.clone()));
        let site = source.prepare(&cx()).await.unwrap();
        publish(&cx(), &before(&s3), &site, &PublishOptions::default()).await.unwrap();
    }
    let paths = s3.cloudfront().invalidations["I2"].paths.clone();
    assert_eq!(paths, ["/a%20b%5Bc%5D.html", "/about(1).html", "/logo*", "/runtime*"]);
    assert!(!before(&s3).history(&cx()).await.unwrap().owed);
}

#[tokio::test(start_paused = true)]
async fn a_publish_makes_caches_forget_the_pages_that_changed() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let options = PublishOptions::default();
    for number in 1..=2 {
        publish(&cx(), &before(&s3), &site(dir.path(), number).await, &options).await.unwrap();
    }
    switch_back(&cx(), &before(&s3), None).await.unwrap();
    let paths: Vec<_> = s3.cloudfront().invalidations.values().map(|known| known.paths.clone()).collect();
    assert_eq!(paths[0], ["/*"], "whatever was served before");
    assert_eq!(paths[1..], [["/", "/index.html"], ["/", "/index.html"]], "there and back");
}

#[tokio::test(start_paused = true)]
async fn after_a_switch_that_was_stopped_caches_forget_everything_whatever_comes_next() {
    let dir = tempfile::tempdir().unwrap();
    for next in [1, 2, 3] {
        let s3 = FakeS3::new();
        let publish = async |number| {
            let site = site(dir.path(), number).await;
            publish(&cx(), &before(&s3), &site, &PublishOptions::default()).await
        };
        publish(1).await.unwrap();
        let refused = |line: &str| match line == "PUT site/index.html" {
            true => Fate::Refused(403, "AccessDenied"),
            false => Fate::Answered,
        };
        s3.fates(refused);
        publish(2).await.unwrap_err();
        s3.fates(|_| Fate::Answered);
        assert_eq!(publish(next).await.unwrap().invalidated, ["/*"], "release {next}");
        assert_eq!(publish(next).await.unwrap().invalidated, [] as [&str; 0], "release {next} again");
    }
}

/// As `kill -9` has it: at the moment at which `until` is asked, nothing more is done.
async fn killed(s3: &FakeS3, site: &PreparedSite, until: &'static str) {
    let reached = Arc::new(tokio::sync::Notify::new());
    let (seen, silent) = (Arc::clone(&reached), move |line: &str| line.contains(until));
    s3.fates(move |line| if silent(line) { Fate::Silence } else { Fate::Answered });
    s3.watch(move |line| {
        if line.contains(until) {
            seen.notify_one();
        }
    });
    let (cdn, cx, options) = (before(s3), cx(), PublishOptions::default());
    tokio::select! {
        result = publish(&cx, &cdn, site, &options) => panic!("it was to be killed: {result:?}"),
        () = reached.notified() => {}
    }
    s3.fates(|_| Fate::Answered);
    s3.watch(|_| {});
}

#[tokio::test(start_paused = true)]
async fn what_is_killed_between_a_switch_after_a_stopped_one_and_its_invalidation_is_invalidated_by_whoever_comes_next()
{
    let dir = tempfile::tempdir().unwrap();
    for next in [1, 2, 3] {
        let s3 = FakeS3::new();
        let publish = async |number| {
            let site = site(dir.path(), number).await;
            publish(&cx(), &before(&s3), &site, &PublishOptions::default()).await.unwrap().invalidated
        };
        publish(1).await;
        let second = site(dir.path(), 2).await;
        killed(&s3, &second, "PUT site/index.html").await;
        killed(&s3, &second, "/invalidation").await;
        assert!(text(&s3, "site/index.html").starts_with(&script(2)), "it was killed after its switch");
        assert_eq!(publish(next).await, ["/*"], "release {next}");
        assert_eq!(publish(next).await, [] as [&str; 0], "release {next} again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_killed_between_its_switch_and_its_invalidation_is_invalidated_by_whoever_comes_next() {
    let dir = tempfile::tempdir().unwrap();
    for (next, paths) in [(1, vec!["/*"]), (2, vec!["/", "/index.html"]), (3, vec!["/*"])] {
        let s3 = FakeS3::new();
        let publish = async |number| {
            let site = site(dir.path(), number).await;
            publish(&cx(), &before(&s3), &site, &PublishOptions::default()).await.unwrap().invalidated
        };
        publish(1).await;
        killed(&s3, &site(dir.path(), 2).await, "/invalidation").await;
        assert!(text(&s3, "site/index.html").starts_with(&script(2)), "it was killed after its switch");
        assert_eq!(publish(next).await, paths, "release {next}");
        assert_eq!(publish(next).await, [] as [&str; 0], "release {next} again");
        publish(4).await;
        assert_eq!(publish(4).await, [] as [&str; 0], "nothing is owed for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn what_two_killed_publishes_owe_is_more_than_what_the_last_one_changed() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let more = source(dir.path(), 2).file("d/index.html", "two").prepare(&cx()).await.unwrap();
    let options = PublishOptions::default();
    publish(&cx(), &before(&s3), &site(dir.path(), 1).await, &options).await.unwrap();
    killed(&s3, &more, "/invalidation").await;
    let third = source(dir.path(), 3).file("d/index.html", "two").prepare(&cx()).await.unwrap();
    killed(&s3, &third, "/invalidation").await;
    let done = async || publish(&cx(), &before(&s3), &third, &options).await.unwrap().invalidated;
    assert_eq!(done().await, ["/*"], "/d/ changed two switches ago");
    assert_eq!(done().await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_is_known_after_the_release_before_was_forgotten() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (second, options) = (site(dir.path(), 2).await, PublishOptions::default());
    publish(&cx(), &before(&s3), &site(dir.path(), 1).await, &options).await.unwrap();
    killed(&s3, &second, "/invalidation").await;
    before(&s3).prune(&cx(), 1).await.unwrap();
    assert_eq!(publish(&cx(), &before(&s3), &second, &options).await.unwrap().invalidated, ["/*"]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_tells_the_write_after_caches_were_told() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    publish(&cx(), &before(&s3), &site(dir.path(), 1).await, &PublishOptions::default()).await.unwrap();
    let second = site(dir.path(), 2).await;
    let (told, (writes, _)) = super::costing::planned_and_done(&s3, &before(&s3), &second).await;
    // `CloudFront` has one request of them.
    assert_eq!(told[0], writes - 1, "{:?}", s3.log());
}

#[tokio::test(start_paused = true)]
async fn caches_that_take_more_of_a_mixture_while_they_forget_another_are_told_again() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (first, second) = (site(dir.path(), 1).await, site(dir.path(), 2).await);
    let options = PublishOptions::default();
    publish(&cx(), &before(&s3), &first, &options).await.unwrap();
    killed(&s3, &second, "PUT site/index.html").await;
    let (other, once) = (s3.clone(), AtomicUsize::new(0));
    s3.watch(move |line| {
        let live = ".ecolaura-deploy/web/live.json";
        if line.contains("/invalidation") && once.fetch_add(1, Ordering::SeqCst) == 0 {
            // As if another deployer had noted a switch of its own meanwhile.
            let noted = text(&other, live).replace("\"nonce\":\"", "\"nonce\":\"x");
            other.plant(live, &noted);
        }
    });
    let done = async || publish(&cx(), &before(&s3), &second, &options).await.unwrap().invalidated;
    assert_eq!(done().await, ["/*"]);
    assert_eq!(done().await, ["/*"], "the other's mixture");
    assert_eq!(done().await, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_first_publish_that_was_killed_before_its_invalidation_still_makes_caches_forget_everything() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let site = site(dir.path(), 1).await;
    let publish = async || publish(&cx(), &before(&s3), &site, &PublishOptions::default()).await;
    s3.fates(|line| match line.starts_with("POST 2020-05-31/") {
        true => Fate::Refused(403, "AccessDenied"),
        false => Fate::Answered,
    });
    publish().await.unwrap_err();
    s3.fates(|_| Fate::Answered);
    assert_eq!(publish().await.unwrap().invalidated, ["/*"]);
    assert_eq!(publish().await.unwrap().invalidated, [] as [&str; 0]);
}
