//! A site whose releases are switched by one write.

use std::{collections::BTreeMap, sync::Mutex};

use ecolaura_deploy_core::{backend::Inspect as _, cdn::plan};

use super::{
    costing::{told, told_and_asked},
    *,
};
use crate::{
    granted,
    publish::{PointerCdn, Weight},
};

const STORE: &str = "arn:aws:cloudfront::111122223333:key-value-store/a1b2c3d4-5678-90ab-cdef-111111111111";

fn pointed(s3: &FakeS3) -> PointerCdn {
    PointerCdn::new(Name::new("web").unwrap(), s3.account(), BUCKET, STORE).prefix("site")
}

async fn release(s3: &FakeS3, dir: &Path, number: u32) -> PublishReport {
    publish(&cx(), &pointed(s3), &site(dir, number).await, &PublishOptions::default()).await.unwrap()
}

fn live(s3: &FakeS3) -> String {
    s3.entries().entries["web"].clone()
}

/// What a viewer gets from an edge that knows of `release`.
fn seen(s3: &FakeS3, release: &str, key: &str) -> Option<String> {
    let object = s3.object(&format!("site/{release}/{key}"))?;
    Some(String::from_utf8(object.content).unwrap())
}

#[tokio::test]
async fn a_pointed_bucket_conforms() {
    suite(async || {
        let s3 = FakeS3::new();
        Fixture::new(Arc::new(pointed(&s3)), s3)
    })
    .await;
}

#[tokio::test]
async fn the_switch_is_one_write_and_so_is_the_way_back() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await;
    let second = release(&s3, dir.path(), 2).await;
    assert_eq!((live(&s3), s3.entries().written), (second.release.to_hex(), 2));
    assert_eq!(second.uploaded, 2, "a page and a script");
    s3.clear_log();
    switch_back(&cx(), &pointed(&s3), Some(first.release)).await.unwrap();
    assert_eq!((live(&s3), s3.entries().written), (first.release.to_hex(), 3));
    let log = s3.log();
    assert!(!log.iter().any(|line| line.starts_with("PUT site/") && line.contains("html")), "no page: {log:?}");
    s3.clear_log();
    let again = publish(&cx(), &pointed(&s3), &site(dir.path(), 1).await, &PublishOptions::default()).await.unwrap();
    let writes: Vec<_> = s3.log().into_iter().filter(|line| line.starts_with('P')).collect();
    assert_eq!((again.uploaded, writes), (0, vec![]), "what is served already causes reads only");
}

#[tokio::test]
async fn what_is_served_has_its_headers_in_its_folder() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let release = release(&s3, dir.path(), 1).await.release.to_hex();
    let page = s3.object(&format!("site/{release}/index.html")).unwrap().headers;
    assert_eq!(
        (page["content-type"].as_str(), page["cache-control"].as_str()),
        ("text/html; charset=utf-8", "no-cache")
    );
    let script = s3.object(&format!("site/{release}/{}", script(1))).unwrap().headers;
    assert_eq!(script["cache-control"], "public, max-age=31536000, immutable");
}

/// Browsers that hold pages for some switches, at edges of which some have not heard of the last switch yet.
#[derive(Default)]
struct Browsers {
    held: BTreeMap<String, usize>,
    edges: Vec<String>,
    switch: usize,
    pages: usize,
    gaps: Vec<String>,
}

impl Browsers {
    fn look(&mut self, s3: &FakeS3) {
        let Some(live) = s3.entries().entries.get("web").cloned() else { return };
        if self.edges.last() != Some(&live) {
            self.edges.push(live);
            self.switch += 1;
        }
        let late = self.edges.len().saturating_sub(2);
        let (known, switch) = (self.edges[late..].to_vec(), self.switch);
        self.held.retain(|_, since| *since + 3 >= switch);
        for edge in &known {
            match seen(s3, edge, "index.html") {
                Some(page) => _ = self.held.insert(page, switch),
                None => self.gaps.push(format!("{edge}/index.html")),
            }
            self.pages += 1;
        }
        for (page, edge) in self.held.keys().flat_map(|page| known.iter().map(move |edge| (page, edge))) {
            let missing = page.split(' ').filter(|key| seen(s3, edge, key).is_none());
            self.gaps.extend(missing.map(|key| format!("{edge}/{key} after switch {switch}")));
        }
    }
}

#[tokio::test]
async fn no_browser_misses_anything_over_100_switches_at_edges_that_hear_late() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 0).await;
    let browsers = Arc::new(Mutex::new(Browsers::default()));
    let (watching, bucket) = (Arc::clone(&browsers), s3.clone());
    s3.watch(move |line| {
        // Reads change nothing.
        if !line.starts_with("GET") {
            watching.lock().unwrap().look(&bucket);
        }
    });
    for number in 1..=75 {
        release(&s3, dir.path(), number).await;
        if number % 3 == 0 {
            switch_back(&cx(), &pointed(&s3), None).await.unwrap();
        }
    }
    s3.watch(|_| {});
    let browsers = browsers.lock().unwrap();
    assert_eq!((browsers.switch, browsers.gaps.as_slice()), (101, [].as_slice()));
    assert!(browsers.pages > 1000, "{}", browsers.pages);
}

#[tokio::test]
async fn a_publish_that_breaks_at_any_write_serves_one_whole_release_and_is_completed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let sites = [site(dir.path(), 1).await, site(dir.path(), 2).await];
    let mut broken = 0;
    for count in 0.. {
        let s3 = FakeS3::new();
        release(&s3, dir.path(), 1).await;
        let seen_writes = AtomicUsize::new(0);
        let fate = if count % 2 == 0 { Fate::Refused(503, "ServiceUnavailable") } else { Fate::Broken };
        s3.fates(move |line| {
            let writes = line.starts_with("PUT") || line.starts_with("POST");
            if writes && seen_writes.fetch_add(1, Ordering::SeqCst) >= count { fate } else { Fate::Answered }
        });
        let result = publish(&cx(), &pointed(&s3), &sites[1], &PublishOptions::default()).await;
        s3.fates(|_| Fate::Answered);
        let served = sites.iter().find(|site| site.release().to_hex() == live(&s3)).unwrap();
        for (key, object) in &served.manifest().0 {
            let content = seen(&s3, &live(&s3), key).unwrap_or_default();
            assert_eq!(Digest::of(content), object.digest, "{key} after {count} writes");
        }
        let history = pointed(&s3).history(&cx()).await.unwrap();
        assert!(history.live == Some(served.release()) && !history.unfinished, "after {count} writes");
        publish(&cx(), &pointed(&s3), &sites[1], &PublishOptions::default()).await.unwrap();
        assert_eq!(live(&s3), sites[1].release().to_hex());
        if result.is_ok() && count > 12 {
            break;
        }
        broken += usize::from(result.is_err());
    }
    assert!(broken >= 8, "{broken}");
}

#[tokio::test]
async fn others_may_change_their_entries_and_not_ours() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await;
    for (key, value) in [("docs", "theirs".to_owned()), ("web", first.release.to_hex().replace('a', "b"))] {
        let (other, once) = (s3.clone(), AtomicUsize::new(0));
        s3.watch(move |line| {
            if line == "PUT .ecolaura-deploy/web/live.json" && once.fetch_add(1, Ordering::SeqCst) == 0 {
                other.entries().plant(key, &value);
            }
        });
        let result = publish(&cx(), &pointed(&s3), &site(dir.path(), 2).await, &PublishOptions::default()).await;
        s3.watch(|_| {});
        match key {
            "docs" => assert_eq!(live(&s3), result.unwrap().release.to_hex()),
            _ => assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict),
        }
        s3.entries().plant("web", &first.release.to_hex());
    }
}

#[tokio::test]
async fn pruning_takes_whole_folders_and_keeps_what_an_entry_names() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await;
    let second = release(&s3, dir.path(), 2).await;
    s3.at(0);
    assert!(pointed(&s3).leftovers(&cx()).await.unwrap().is_empty());
    assert_eq!(pointed(&s3).prune(&cx(), 1).await.unwrap(), [script(1)]);
    let left = s3.keys();
    assert!(!left.iter().any(|key| key.contains(&first.release.to_hex()) || key.contains(&script(1))), "{left:?}");
    assert!(seen(&s3, &second.release.to_hex(), "logo.0123abcd.svg").is_some());
    s3.plant("site/forgotten/a.js", "x");
    assert!(pointed(&s3).leftovers(&cx()).await.unwrap().is_empty(), "what others put there is theirs");
}

#[tokio::test]
async fn at_the_root_of_a_bucket_neither_the_state_nor_a_release_is_left_over() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let root = pointed(&s3).prefix("");
    for number in 1..=2 {
        publish(&cx(), &root, &site(dir.path(), number).await, &PublishOptions::default()).await.unwrap();
    }
    assert_eq!(root.leftovers(&cx()).await.unwrap(), []);
}

#[tokio::test]
async fn what_somebody_took_away_is_sent_again_by_the_same_process() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (cdn, options) = (pointed(&s3), PublishOptions::default());
    let sites = [site(dir.path(), 1).await, site(dir.path(), 2).await];
    for site in &sites {
        publish(&cx(), &cdn, site, &options).await.unwrap();
    }
    let page = sites[0].manifest().0["index.html"].digest.to_hex();
    s3.take(&format!(".ecolaura-deploy/web/objects/{page}"));
    assert_eq!(publish(&cx(), &cdn, &sites[0], &options).await.unwrap().uploaded, 1);
    assert_eq!(live(&s3), sites[0].release().to_hex());
}

#[tokio::test]
async fn a_prune_spares_the_folder_that_a_publisher_fills() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    s3.at(cx().clock().now().as_second());
    release(&s3, dir.path(), 1).await;
    let (cdn, next) = (pointed(&s3), site(dir.path(), 2).await);
    send(&cdn, &next).await;
    let (cx, before) = (cx(), cdn.history(&cx()).await.unwrap().live);
    let activation = Activation::new(next.manifest().clone(), before);
    let mut activating = cdn.activate(&cx, &activation);
    let copied = format!("PUT site/{}/{}", next.release().to_hex(), script(2));
    tokio::select! { biased; _ = &mut activating => panic!("nothing was copied"), () = asked(&s3, &copied) => {} }
    pointed(&s3).prune(&cx, 1).await.unwrap();
    activating.await.unwrap();
    let history = pointed(&s3).history(&cx).await.unwrap();
    assert_eq!((history.live, history.unfinished), (Some(next.release()), false));
    for (key, object) in &next.manifest().0 {
        assert_eq!(Digest::of(seen(&s3, &live(&s3), key).unwrap()), object.digest, "{key}");
    }
}

#[tokio::test]
async fn a_prune_beside_a_switch_does_not_make_it_fail() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    for number in 1..=2 {
        release(&s3, dir.path(), number).await;
    }
    let (cdn, cx, next) = (pointed(&s3), cx(), site(dir.path(), 3).await);
    let options = PublishOptions::default().prune_now(false);
    let mut publishing = Box::pin(publish(&cx, &cdn, &next, &options));
    let written = s3.entries().written;
    let pointed_to = async {
        while s3.entries().written == written {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { biased; _ = &mut publishing => panic!("nothing was pointed to"), () = pointed_to => {} }
    pointed(&s3).prune(&cx, 2).await.unwrap();
    assert_eq!(publishing.await.unwrap().release, next.release());
    let history = pointed(&s3).history(&cx).await.unwrap();
    assert_eq!((history.live, history.releases.len()), (Some(next.release()), 2));
}

#[tokio::test]
async fn an_entry_that_names_nothing_that_is_kept_is_named_with_what_is() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await;
    for wrong in ["v1".to_owned(), Digest::of("x").to_hex()] {
        s3.entries().plant("web", &wrong);
        let error = pointed(&s3).history(&cx()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.report().contains(&wrong), "{}", error.report());
    }
    let error = pointed(&s3).history(&cx()).await.unwrap_err();
    assert!(error.report().contains(&first.release.to_hex()), "{}", error.report());
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn an_older_deployer_that_comes_late_cannot_point_back() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (old, new) = (site(dir.path(), 1).await, site(dir.path(), 2).await);
    let options = PublishOptions::default();
    publish(&cx().with_epoch(5), &pointed(&s3), &new, &options).await.unwrap();
    let error = publish(&cx().with_epoch(4), &pointed(&s3), &old, &options).await.unwrap_err();
    assert_eq!((error.kind(), live(&s3)), (ErrorKind::Fenced, new.release().to_hex()));
}

#[tokio::test]
async fn a_store_that_is_not_there_is_a_refusal() {
    let s3 = FakeS3::new();
    s3.fates(|line| match line.contains("key-value-stores") {
        true => Fate::Refused(404, "ResourceNotFoundException"),
        false => Fate::Answered,
    });
    let findings = pointed(&s3).check(&cx()).await.unwrap();
    let found = findings.0.iter().find(|finding| finding.resource == STORE).unwrap();
    assert!(found.weight == Weight::Refusal && found.found.contains("no such store"), "{found}");
}

#[test]
fn the_function_asks_for_the_sites_own_entry() {
    let source = pointed(&FakeS3::new()).viewer_request(&ecolaura_deploy_core::cdn::Compression::new().choose());
    assert!(source.contains(r#"await store.get("web")"#) && source.contains("function choose(request)"), "{source}");
    assert!(source.len() < 10_000 && source.matches("function handler").count() == 1, "{source}");
}

#[tokio::test]
async fn a_plan_tells_the_requests_that_its_publish_takes_and_what_is_stored() {
    told_and_asked(pointed).await;
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let site = site(dir.path(), 1).await;
    let sizes: u64 = site.manifest().0.values().map(|object| object.size).sum();
    let changes = plan(&cx(), &pointed(&s3), &site).await.unwrap();
    let stored = usize::try_from(2 * sizes).unwrap();
    assert_eq!(told(&changes[0].details)[2..4], [stored, 0], "each content, and its copy: {:?}", changes[0].details);
}

#[tokio::test]
async fn every_call_is_granted_and_no_grant_is_unused() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let (cdn, calls) = (pointed(&s3), granted::record());
    for number in 1..=2 {
        release(&s3, dir.path(), number).await;
    }
    switch_back(&cx(), &cdn, None).await.unwrap();
    cdn.prune(&cx(), 1).await.unwrap();
    cdn.leftovers(&cx()).await.unwrap();
    let path = dir.path().join("large");
    fs::write(&path, vec![0; 9 << 20]).unwrap();
    let object = SiteObject::new(Digest::of("x"), 9 << 20, "x/y", CacheControl::Immutable);
    let error = cdn.upload(&cx(), &UploadRequest::new("large.wasm", &path, object)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    granted::exactly(&calls, [cdn.publishing(), cdn.cleaning()].concat());
}
