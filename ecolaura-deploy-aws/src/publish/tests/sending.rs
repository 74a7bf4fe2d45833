//! How files get there.

use std::num::NonZeroUsize;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};

use super::*;

const PART: usize = 5 * 1024 * 1024;

fn object(content: &[u8], cache: CacheControl) -> SiteObject {
    SiteObject::new(Digest::of(content), content.len() as u64, "application/wasm", cache)
}

/// A file of two parts and a bit.
fn large(dir: &Path) -> (UploadRequest, Vec<u8>) {
    let content: Vec<u8> = (0..2 * PART + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let path = dir.join("large.wasm");
    fs::write(&path, &content).unwrap();
    (UploadRequest::new("large.4f2a91c0.wasm", path, object(&content, CacheControl::Immutable)), content)
}

fn in_parts(s3: &FakeS3) -> S3Cdn {
    cdn(s3).part_size(PART as u64)
}

#[tokio::test]
async fn a_large_file_goes_in_parts_and_is_whole() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (request, content) = large(dir.path());
    assert!(in_parts(&s3).upload(&cx(), &request).await.unwrap());
    assert!(s3.object("site/large.4f2a91c0.wasm").unwrap().content == content);
    assert_eq!(s3.log().iter().filter(|line| line.starts_with("PUT") && line.ends_with("?uploadId")).count(), 3);
    assert_eq!(s3.uploads(), 0);
    s3.clear_log();
    assert!(!in_parts(&s3).upload(&cx(), &request).await.unwrap());
    assert_eq!(s3.log(), ["HEAD site/large.4f2a91c0.wasm"], "what is there is not sent again");
}

#[tokio::test]
async fn a_part_that_fails_leaves_no_upload_behind() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (request, _) = large(dir.path());
    s3.fates(|line| match line.starts_with("PUT") && line.ends_with("?uploadId") {
        true => Fate::Refused(503, "SlowDown"),
        false => Fate::Answered,
    });
    let error = in_parts(&s3).upload(&cx(), &request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert!(error.report().contains("part: "), "{}", error.report());
    assert_eq!((s3.uploads(), s3.keys().len()), (0, 0));
}

#[tokio::test]
async fn a_large_file_that_changed_is_corrupt_and_leaves_no_upload_behind() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (mut request, content) = large(dir.path());
    for wrong in [&content[..content.len() - 1], &[content.as_slice(), b"x"].concat(), &vec![0; content.len()]] {
        request.object = object(wrong, CacheControl::Immutable);
        let error = in_parts(&s3).upload(&cx(), &request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!((s3.uploads(), s3.keys().len()), (0, 0));
    }
}

#[tokio::test]
async fn a_cancel_and_a_dropped_call_leave_no_upload_behind() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (request, _) = large(dir.path());
    s3.fates(|line| match line.starts_with("PUT") && line.ends_with("?uploadId") {
        true => Fate::Silence,
        false => Fate::Answered,
    });
    let token = CancellationToken::new();
    let cancelled = cx().with_cancellation(token.clone());
    s3.watch(move |line| {
        if line.starts_with("PUT") {
            token.cancel();
        }
    });
    let error = in_parts(&s3).upload(&cancelled, &request).await.unwrap_err();
    assert_eq!((error.kind(), s3.uploads()), (ErrorKind::Cancelled, 0));

    s3.watch(|_| {});
    s3.clear_log();
    let (cdn, cx) = (in_parts(&s3), cx());
    let call = cdn.upload(&cx, &request);
    let begun = async {
        while !s3.log().iter().any(|line| line.starts_with("PUT")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { _ = call => panic!("nothing answers"), () = begun => {} }
    while s3.uploads() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn another_content_under_a_name_for_ever_is_a_conflict_that_names_both() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let path = dir.path().join("a");
    for (number, content) in ["one", "two"].into_iter().enumerate() {
        fs::write(&path, content).unwrap();
        let request = UploadRequest::new("a.4f2a91c0.js", &path, object(content.as_bytes(), CacheControl::Immutable));
        let result = cdn(&s3).upload(&cx(), &request).await;
        if number == 1 {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None));
            for digest in ["one", "two"].map(Digest::of) {
                assert!(error.report().contains(&digest.to_string()), "{}", error.report());
            }
        }
    }
    assert_eq!(text(&s3, "site/a.4f2a91c0.js"), "one");
}

#[tokio::test]
async fn an_asset_that_another_tool_uploaded_is_taken_over_if_it_is_the_same() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    s3.plant("site/logo.0123abcd.svg", "logo");
    let report = release(&s3, dir.path(), 1).await;
    assert_eq!(report.uploaded, 3);
    let logo = s3.object("site/logo.0123abcd.svg").unwrap();
    assert_eq!(logo.headers["content-type"], "image/svg+xml", "and has its headers");
    s3.plant(&format!("site/{}", script(2)), "SCRIPT 2");
    let missing = cdn(&s3).missing(&cx(), site(dir.path(), 2).await.manifest()).await.unwrap();
    assert!(missing.contains(&script(2)), "the size alone says nothing: {missing:?}");
    let error = publish(&cx(), &cdn(&s3), &site(dir.path(), 2).await, &PublishOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn an_asset_that_was_sent_with_other_headers_gets_the_right_ones_with_the_switch() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let wrong = source(dir.path(), 1).content_type("*.js", "text/plain").prepare(&cx()).await.unwrap();
    let (key, object) = wrong.manifest().0.iter().find(|(key, _)| **key == script(1)).unwrap();
    let request = UploadRequest::new(key, &wrong.files()[key], object.clone());
    cdn(&s3).upload(&cx(), &request).await.unwrap();
    let report = release(&s3, dir.path(), 1).await;
    assert_eq!(report.uploaded, 3);
    let script = s3.object(&format!("site/{}", script(1))).unwrap();
    assert_eq!(script.headers["content-type"], "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn as_many_files_as_are_allowed_are_sent_at_a_time() {
    for (at_once, sent) in [(3, 3), (64, 5)] {
        let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
        for number in 0..5 {
            fs::write(dir.path().join(format!("{number}.0123abcd.svg")), number.to_string()).unwrap();
        }
        let site = SiteSource::new(dir.path()).prepare(&cx()).await.unwrap();
        s3.fates(|line| if line.starts_with("PUT") { Fate::Silence } else { Fate::Answered });
        let begun = || s3.log().iter().filter(|line| line.starts_with("PUT")).count();
        let (cdn, cx) = (cdn(&s3).uploads(NonZeroUsize::new(at_once).unwrap()), cx());
        let options = PublishOptions::default();
        let stuck = async {
            while begun() < sent {
                tokio::task::yield_now().await;
            }
            // More would follow at once.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { _ = publish(&cx, &cdn, &site, &options) => panic!("nothing answers"), () = stuck => {} }
        assert_eq!(begun(), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn files_that_take_longer_than_other_calls_arrive_all_the_same() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (request, content) = large(dir.path());
    let site = source(dir.path(), 1).file(&request.key, content).prepare(&cx()).await.unwrap();
    s3.fates(|line| {
        let file = line.starts_with("PUT .ecolaura-deploy/web/objects/") || line.contains("0123abcd");
        match line.ends_with("?uploadId") || (file && line.starts_with("PUT")) {
            true => Fate::Late(90),
            false => Fate::Answered,
        }
    });
    let report = publish(&cx(), &in_parts(&s3), &site, &PublishOptions::default()).await.unwrap();
    assert_eq!((report.uploaded, s3.uploads()), (5, 0));
    assert_eq!(s3.log().iter().filter(|line| line.starts_with("POST site/")).count(), 2, "begun and ended once");
}

#[tokio::test(start_paused = true)]
async fn a_small_call_that_is_not_answered_ends_soon() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    s3.fates(|line| if line == "PUT site/index.html" { Fate::Silence } else { Fate::Answered });
    let begun = tokio::time::Instant::now();
    let site = site(dir.path(), 2).await;
    let error = publish(&cx(), &cdn(&s3), &site, &PublishOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Partial), "{error:?}");
    assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_end_of_parts_whose_answer_is_lost_is_found_and_not_taken_away() {
    let credentials = || Credentials::new("AKIAFAKE", "fake-secret-key", None, None, "fake");
    for (fate, attempts) in [(Fate::Lost, 1), (Fate::Broken, 1), (Fate::Lost, 2), (Fate::Late(3600), 2)] {
        let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
        let (request, content) = large(dir.path());
        let ended = AtomicUsize::new(0);
        s3.fates(move |line| {
            let ends = line.starts_with("POST") && line.ends_with("?uploadId");
            if ends && ended.fetch_add(1, Ordering::SeqCst) == 0 { fate } else { Fate::Answered }
        });
        let account = s3.account_of(SharedCredentialsProvider::new(credentials()), attempts);
        let cdn = S3Cdn::new(Name::new("web").unwrap(), account, BUCKET).prefix("site").part_size(PART as u64);
        assert!(cdn.upload(&cx(), &request).await.unwrap(), "{fate:?}");
        assert!(s3.object("site/large.4f2a91c0.wasm").unwrap().content == content);
        assert!(!s3.log().iter().any(|line| line.starts_with("DELETE")), "{fate:?}: {:?}", s3.log());
    }
}

/// A conditional write that meets another one on its way; `passed` of those to what begins so are let pass.
fn collides_once(s3: &FakeS3, line: &'static str, passed: usize) {
    let seen = AtomicUsize::new(0);
    s3.fates(move |asked| match asked.starts_with(line) && seen.fetch_add(1, Ordering::SeqCst) == passed {
        true => Fate::Refused(409, "ConditionalRequestConflict"),
        false => Fate::Answered,
    });
}

#[tokio::test(start_paused = true)]
async fn a_write_that_meets_another_one_on_its_way_is_made_again() {
    for line in ["PUT .ecolaura-deploy/web/objects/", "PUT site/app"] {
        let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
        collides_once(&s3, line, 0);
        assert_eq!(release(&s3, dir.path(), 1).await.uploaded, 4, "{line}");
    }
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (request, content) = large(dir.path());
    collides_once(&s3, "POST site/large.4f2a91c0.wasm?uploadId", 0);
    assert!(in_parts(&s3).upload(&cx(), &request).await.unwrap());
    assert!(s3.object("site/large.4f2a91c0.wasm").unwrap().content == content);
    assert_eq!(s3.uploads(), 0, "the parts that were refused are gone");
}

#[tokio::test(start_paused = true)]
async fn a_switch_whose_last_write_meets_another_one_is_at_its_end() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    collides_once(&s3, "PUT .ecolaura-deploy/web/live.json", 1);
    release(&s3, dir.path(), 1).await;
    assert!(!cdn(&s3).history(&cx()).await.unwrap().unfinished);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_always_meets_another_one_is_told_with_what_to_do() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    for (line, kind) in [("PUT site/app", ErrorKind::Unavailable), ("live.json", ErrorKind::Conflict)] {
        s3.fates(move |asked| match asked.starts_with("PUT") && asked.contains(line) {
            true => Fate::Refused(409, "ConditionalRequestConflict"),
            false => Fate::Answered,
        });
        let error = publish(&cx(), &cdn(&s3), &site(dir.path(), 1).await, &PublishOptions::default()).await;
        let error = error.unwrap_err();
        assert!(error.kind() == kind && error.report().contains("run again"), "{}", error.report());
    }
}

#[tokio::test]
async fn what_somebody_took_away_is_sent_again_by_the_same_process() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (cdn, options) = (cdn(&s3), PublishOptions::default());
    let sites = [site(dir.path(), 1).await, site(dir.path(), 2).await];
    for site in &sites {
        publish(&cx(), &cdn, site, &options).await.unwrap();
    }
    let page = sites[0].manifest().0["index.html"].digest.to_hex();
    for gone in [format!("site/{}", script(1)), format!(".ecolaura-deploy/web/objects/{page}")] {
        s3.take(&gone);
    }
    assert_eq!(publish(&cx(), &cdn, &sites[0], &options).await.unwrap().uploaded, 2);
    assert!(text(&s3, "site/index.html").starts_with(&script(1)));
    let elsewhere = cdn.prefix("other").state("state-of-other");
    assert_eq!(publish(&cx(), &elsewhere, &sites[0], &options).await.unwrap().uploaded, 4, "nothing is there yet");
}
