//! What is left when S3, or the process, fails in between.

use super::*;

const LIVE: &str = ".ecolaura-deploy/web/live.json";

/// Refuses the request after the first `count` that are writes to the bucket.
fn breaks_after(s3: &FakeS3, count: usize) {
    let seen = AtomicUsize::new(0);
    s3.fates(move |line| {
        let writes = !line.starts_with("GET") && !line.starts_with("HEAD");
        match writes && seen.fetch_add(1, Ordering::SeqCst) >= count {
            true => Fate::Refused(503, "ServiceUnavailable"),
            false => Fate::Answered,
        }
    });
}

fn heals(s3: &FakeS3) {
    s3.fates(|_| Fate::Answered);
}

/// Whether the served pages are exactly those of the release.
fn serves(s3: &FakeS3, site: &PreparedSite) -> bool {
    site.manifest().0.iter().all(|(key, object)| {
        let found = s3.object(&format!("site/{key}"));
        found.is_some_and(|found| Digest::of(&found.content) == object.digest)
    })
}

#[tokio::test]
async fn a_publish_that_breaks_at_any_write_is_completed_by_the_next_and_undone_by_a_switch_back() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (site(dir.path(), 1).await, source(dir.path(), 2).file("404.html", "nothing here"));
    let new = new.file("new.html", "new").prepare(&cx()).await.unwrap();
    let mut broken = 0;
    for count in 0.. {
        let s3 = FakeS3::new();
        release(&s3, dir.path(), 1).await;
        breaks_after(&s3, count);
        let result = publish(&cx(), &cdn(&s3), &new, &PublishOptions::default()).await;
        heals(&s3);
        if result.is_ok() {
            break;
        }
        broken += 1;
        let history = cdn(&s3).history(&cx()).await.unwrap();
        let repeated = FakeS3::clone(&s3);
        if count % 2 == 0 {
            publish(&cx(), &cdn(&repeated), &new, &PublishOptions::default()).await.unwrap();
            assert!(serves(&s3, &new), "after {count} writes");
        } else {
            // Undoing names the release that was served before.
            switch_back(&cx(), &cdn(&s3), Some(old.release())).await.unwrap();
            assert!(serves(&s3, &old), "after {count} writes");
            assert!(s3.object("site/new.html").is_none(), "after {count} writes");
            assert_eq!(cdn(&s3).history(&cx()).await.unwrap().live, Some(old.release()));
        }
        assert!(history.live.is_some());
    }
    assert!(broken >= 8, "{broken}");
}

#[tokio::test]
async fn a_switch_that_broke_says_what_is_served_and_nothing_is_pruned_until_it_ends() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    let new = site(dir.path(), 2).await;
    s3.fates(|line| match line == "PUT site/index.html" {
        true => Fate::Refused(403, "AccessDenied"),
        false => Fate::Answered,
    });
    let error = publish(&cx(), &cdn(&s3), &new, &PublishOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::PermissionDenied, Effect::Partial));
    for part in ["s3:PutObject", "arn:aws:s3:::site-bucket/site/index.html", "the same call completes it"] {
        assert!(error.report().contains(part), "{}", error.report());
    }
    let error = cdn(&s3).prune(&cx(), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(serves(&s3, &site(dir.path(), 1).await), "the old page and its assets are there");
    heals(&s3);
    publish(&cx(), &cdn(&s3), &new, &PublishOptions::default()).await.unwrap();
    assert!(serves(&s3, &new));
}

#[tokio::test]
async fn an_answer_that_is_lost_is_found_in_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    for fate in [Fate::Lost, Fate::Broken] {
        let s3 = FakeS3::new();
        release(&s3, dir.path(), 1).await;
        s3.fates(
            move |line| if line.ends_with("live.json") && line.starts_with("PUT") { fate } else { Fate::Answered },
        );
        let second = release(&s3, dir.path(), 2).await;
        heals(&s3);
        let history = cdn(&s3).history(&cx()).await.unwrap();
        assert_eq!((history.live, history.releases.len()), (Some(second.release), 2));
        assert!(serves(&s3, &site(dir.path(), 2).await));
    }
}

#[tokio::test]
async fn a_publisher_that_was_overtaken_stops_before_its_next_group() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await;
    let slow = source(dir.path(), 2).file("a.css", "a {}").prepare(&cx()).await.unwrap();
    send(&cdn(&s3), &slow).await;
    let (other, once) = (s3.clone(), AtomicUsize::new(0));
    s3.watch(move |line| {
        if line == format!("PUT {LIVE}") && once.fetch_add(1, Ordering::SeqCst) == 0 {
            // As if another deployer had noted its own switch meanwhile, under a newer epoch.
            let noted = String::from_utf8(other.object(LIVE).unwrap().content).unwrap();
            let noted = noted.replace("{\"test\":8}", "{\"test\":9}").replace("\"nonce\":\"", "\"nonce\":\"x");
            other.plant(LIVE, &noted);
        }
    });
    let under = cx().with_epoch(8);
    let error =
        cdn(&s3).activate(&under, &Activation::new(slow.manifest().clone(), Some(first.release))).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Fenced, Effect::Partial), "{}", error.report());
    assert!(s3.object("site/a.css").is_some(), "the first group was on its way");
    assert!(text(&s3, "site/index.html").starts_with(&script(1)), "and no page was");
}

#[tokio::test]
async fn a_state_that_somebody_removes_meanwhile_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    for (after, effect, page) in [("GET", Effect::None, 1), ("PUT", Effect::Partial, 2)] {
        let s3 = FakeS3::new();
        let first = release(&s3, dir.path(), 1).await;
        let second = site(dir.path(), 2).await;
        send(&cdn(&s3), &second).await;
        let (other, once) = (s3.clone(), AtomicUsize::new(0));
        s3.watch(move |line| {
            if line == format!("{after} {LIVE}") && once.fetch_add(1, Ordering::SeqCst) == 0 {
                other.take(LIVE);
            }
        });
        let switch = Activation::new(second.manifest().clone(), Some(first.release));
        let error = cdn(&s3).activate(&cx(), &switch).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, effect), "{}", error.report());
        assert!(error.report().contains("release none is served"), "{}", error.report());
        assert!(text(&s3, "site/index.html").starts_with(&script(page)), "after {after}");
    }
}

#[tokio::test]
async fn the_newest_epoch_survives_in_the_state() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let under = |epoch| cx().with_epoch(epoch);
    let options = PublishOptions::default();
    let (first, second) = (site(dir.path(), 1).await, site(dir.path(), 2).await);
    publish(&under(5), &cdn(&s3), &first, &options).await.unwrap();
    publish(&cx(), &cdn(&s3), &second, &options).await.unwrap();
    cdn(&s3).prune(&cx(), 1).await.unwrap();
    let before = text(&s3, LIVE);
    assert!(before.contains(r#""epochs":{"test":5}"#), "{before}");
    let error = publish(&under(4), &cdn(&s3), &first, &options).await.unwrap_err();
    assert_eq!((error.kind(), text(&s3, LIVE)), (ErrorKind::Fenced, before));
    publish(&under(6), &cdn(&s3), &first, &options).await.unwrap();
}

#[tokio::test]
async fn a_prune_that_was_cut_short_is_completed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    for count in 0..5 {
        let s3 = FakeS3::new();
        release(&s3, dir.path(), 1).await;
        release(&s3, dir.path(), 2).await;
        breaks_after(&s3, count);
        let result = cdn(&s3).prune(&cx(), 1).await;
        heals(&s3);
        let rest = cdn(&s3).prune(&cx(), 1).await.unwrap();
        match (count, result) {
            (0..=3, Err(_)) => assert_eq!(rest, [script(1)], "after {count} writes"),
            (4, Ok(keys)) => assert_eq!((keys, rest), (vec![script(1)], vec![]), "nothing was left to do"),
            (_, result) => panic!("after {count} writes: {result:?}"),
        }
        let left = s3.keys().into_iter().filter(|key| key.contains("/releases/") || key.contains("/objects/")).count();
        assert_eq!(left, 1 + 2, "the manifest and the two pages of what is kept");
        assert!(serves(&s3, &site(dir.path(), 2).await));
    }
}
