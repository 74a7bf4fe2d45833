use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::DirectoryCdn;
use crate::{
    Context, Error, ErrorKind,
    backend::{CdnPublisher, Invalidation},
    cdn::{PreparedSite, PublishOptions, PublishReport, SiteSource, publish, switch_back},
    context::Emit,
    event::EventKind,
    testing::conformance::cdn_publisher::{Fixture, suite},
    vocabulary::{EnvironmentName, Name},
};

mod browsing;
mod leftovers;

fn cx() -> Context {
    Context::new(EnvironmentName::new("test").unwrap())
}

fn cdn(dir: &Path) -> DirectoryCdn {
    DirectoryCdn::new(dir.join("site"), Name::new("web").unwrap())
}

/// A page that names its assets, one of them new in each release.
async fn site(dir: &Path, number: u32) -> PreparedSite {
    let dist = dir.join(format!("dist-{number}"));
    fs::create_dir_all(&dist).unwrap();
    let script = format!("app.{:08x}.js", 0xabcd_1000 + number);
    fs::write(dist.join("index.html"), format!("{script} logo.0123abcd.svg")).unwrap();
    fs::write(dist.join("404.html"), "no such page").unwrap();
    fs::write(dist.join(script), format!("script {number}")).unwrap();
    fs::write(dist.join("logo.0123abcd.svg"), "logo").unwrap();
    SiteSource::new(dist).prepare(&cx()).await.unwrap()
}

async fn release(dir: &Path, number: u32) -> PublishReport {
    publish(&cx(), &cdn(dir), &site(dir, number).await, &PublishOptions::default()).await.unwrap()
}

/// Every file below `dir` but the locks, with its size.
fn tree(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(tree(&path)),
            false if path.extension().is_some_and(|extension| extension == "lock") || path.ends_with("lock") => {}
            false => found.push((path, entry.metadata().unwrap().len())),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_directory_conforms() {
    suite(async || {
        let dir = tempfile::tempdir().unwrap();
        Fixture::new(Arc::new(cdn(dir.path())), dir)
    })
    .await;
}

#[tokio::test]
async fn a_second_publish_of_the_same_site_touches_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let first = release(dir.path(), 1).await;
    let before = tree(&dir.path().join("site"));
    let again = release(dir.path(), 1).await;
    assert_eq!((first.uploaded, again.uploaded), (4, 0));
    assert_eq!(tree(&dir.path().join("site")), before);
}

/// Cancels as soon as one file is stored.
struct CancelAtProgress(CancellationToken);

impl Emit for CancelAtProgress {
    fn emit(&self, _step: Option<&str>, kind: EventKind) {
        if matches!(kind, EventKind::Progress { .. }) {
            self.0.cancel();
        }
    }
}

#[tokio::test]
async fn a_cancel_halfway_deletes_nothing_and_the_next_publish_completes() {
    let dir = tempfile::tempdir().unwrap();
    let first = release(dir.path(), 1).await;
    let before = tree(&dir.path().join("site"));
    let token = CancellationToken::new();
    let halfway = cx().with_emit(Arc::new(CancelAtProgress(token.clone()))).with_cancellation(token);
    let (next, cdn) = (site(dir.path(), 2).await, cdn(dir.path()));
    let error = publish(&halfway, &cdn, &next, &PublishOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let after = tree(&dir.path().join("site"));
    assert!(before.iter().all(|file| after.contains(file)), "nothing went away");
    assert!(after.iter().all(|(path, _)| !path.to_string_lossy().ends_with(".partial")));
    assert_eq!(cdn.history(&cx()).await.unwrap().live, Some(first.release));
    let report = publish(&cx(), &cdn, &next, &PublishOptions::default()).await.unwrap();
    assert_eq!(report.uploaded, 1, "the asset that was stored is not sent again");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_names_the_path() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody may create a folder there, not even root.
    let cdn = DirectoryCdn::new("/sys/ecolaura-site", Name::new("web").unwrap());
    let error = publish(&cx(), &cdn, &site(dir.path(), 1).await, &PublishOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", error.report());
    assert!(error.report().contains("`/sys/ecolaura-site"), "{}", error.report());
}

async fn history_error(dir: &TempDir) -> Error {
    cdn(dir.path()).history(&cx()).await.unwrap_err()
}

#[tokio::test]
async fn what_is_corrupt_is_named_and_nothing_is_pruned_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = release(dir.path(), 1).await;
    release(dir.path(), 2).await;
    let manifest = dir.path().join(format!("site/releases/{}.json", first.release.to_hex()));
    let good = fs::read_to_string(&manifest).unwrap();
    for bad in ["{", "{}", &good.replace("\"revalidate\"", "\"x\""), &good.replace("text/html", "text/htmx")] {
        assert_ne!(bad, good);
        fs::write(&manifest, bad).unwrap();
        let error = history_error(&dir).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{bad}");
        assert!(error.report().contains(manifest.to_str().unwrap()), "{}", error.report());
    }
    let before = tree(&dir.path().join("site"));
    assert_eq!(cdn(dir.path()).prune(&cx(), 1).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(tree(&dir.path().join("site")), before);
    fs::write(dir.path().join("site/live"), "sha256").unwrap();
    assert!(history_error(&dir).await.report().contains("site/live"));
}

#[tokio::test]
async fn a_prune_that_was_cut_short_is_completed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let first = release(dir.path(), 1).await;
    let manifest = dir.path().join(format!("site/releases/{}.json", first.release.to_hex()));
    let kept = fs::read(&manifest).unwrap();
    release(dir.path(), 2).await;
    let cdn = cdn(dir.path());
    assert_eq!(cdn.prune(&cx(), 1).await.unwrap(), ["app.abcd1001.js"]);
    // As if the process had died after the pointer was written and before the manifest went.
    fs::write(&manifest, kept).unwrap();
    fs::write(dir.path().join("site/incoming/.1-1.partial"), "half an upload").unwrap();
    assert_eq!(cdn.prune(&cx(), 1).await.unwrap(), ["app.abcd1001.js"]);
    assert!(!manifest.exists());
    assert_eq!(fs::read_dir(dir.path().join("site/incoming")).unwrap().count(), 0);
    assert!(cdn.prune(&cx(), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_invalidation_log_has_one_line_for_each_reference() {
    let dir = tempfile::tempdir().unwrap();
    let (first, cdn) = (release(dir.path(), 1).await, cdn(dir.path()));
    let path = dir.path().join("site/invalidations.jsonl");
    let wish = |reference: &str| Invalidation::new(reference, vec!["/".into()]);
    cdn.invalidate(&cx(), &wish("a")).await.unwrap();
    // A power failure within the next line.
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"reference\":\"b\",\"pa")).unwrap();
    for reference in ["a", "b", "b"] {
        cdn.invalidate(&cx(), &wish(reference)).await.unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<Invalidation> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0].paths, ["/*"], "the first release");
    assert_eq!(lines[1..], [wish("a"), wish("b")]);

    release(dir.path(), 2).await;
    switch_back(&cx(), &cdn, Some(first.release)).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 5, "there and back are two wishes");
    let many = Invalidation::new("many", (0..1001).map(|number| format!("/{number}")).collect());
    assert_eq!(cdn.invalidate(&cx(), &many).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_process_holds_is_waited_for_until_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    release(dir.path(), 1).await;
    let lock = fs::File::open(dir.path().join("site/lock")).unwrap();
    lock.lock().unwrap();
    let (cdn, bounded) = (cdn(dir.path()), cx().with_deadline_in(std::time::Duration::from_mins(1)));
    assert_eq!(cdn.prune(&bounded, 1).await.unwrap_err().kind(), ErrorKind::Timeout);
    drop(lock);
    cdn.prune(&cx(), 1).await.unwrap();
}

#[tokio::test]
async fn the_newest_epoch_survives_in_the_pointer() {
    let dir = tempfile::tempdir().unwrap();
    let under = |epoch| cx().with_epoch(epoch);
    let options = PublishOptions::default();
    let (first, second) = (site(dir.path(), 1).await, site(dir.path(), 2).await);
    publish(&under(5), &cdn(dir.path()), &first, &options).await.unwrap();
    publish(&cx(), &cdn(dir.path()), &second, &options).await.unwrap();
    cdn(dir.path()).prune(&cx(), 1).await.unwrap();
    let live = dir.path().join("site/live");
    let before = fs::read_to_string(&live).unwrap();
    assert!(before.contains(r#""epochs":{"test":5}"#), "{before}");
    let error = publish(&under(4), &cdn(dir.path()), &first, &options).await.unwrap_err();
    assert_eq!((error.kind(), fs::read_to_string(&live).unwrap()), (ErrorKind::Fenced, before));
    publish(&under(6), &cdn(dir.path()), &first, &options).await.unwrap();
}
