use std::sync::Arc;

use ecolaura_deploy_core::{
    Effect, ErrorKind,
    backend::Registry as _,
    oci::{Attachment, OciRegistry},
    pipeline::{Pipeline, constant},
    plan::Action,
    run::Runner,
    step::{Planned, Step as _},
    steps::CopyImage,
    store::ObjectRunStore,
    vocabulary::{Digest, PinnedImage, Repository},
};
use hyper::Method;
use tokio_util::sync::CancellationToken;

use super::{
    clock, cx,
    images::{digest, image, many},
    logins::{LOGIN, Logins, deploy, fake},
    registry, repository,
    server::{Act, FakeRegistry},
};

fn live() -> Repository {
    "live/backend".parse().unwrap()
}

/// Two registries and an image in the first.
struct Bench {
    from: FakeRegistry,
    to: FakeRegistry,
    source: OciRegistry,
    target: OciRegistry,
    image: PinnedImage,
}

impl Bench {
    /// With an image of one layer.
    async fn new(layer: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::of(&image(dir.path(), layer)).await
    }

    async fn of(image: &ecolaura_deploy_core::vocabulary::BuiltImage) -> Self {
        let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
        let (source, target) = (registry(&from), registry(&to));
        let image = source.push(&cx(), image, &repository()).await.unwrap();
        Self { from, to, source, target, image }
    }

    async fn copy(&self) -> ecolaura_deploy_core::Result<PinnedImage> {
        self.target.copy_from(&cx(), &self.source, &self.image, &live()).await
    }
}

#[tokio::test]
async fn fake_gets_an_index_with_all_that_belongs_to_it_from_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let (index, bill) = many(dir.path());
    let bench = Bench::of(&index).await;
    // Of a part of the index, and of what is attached to it in turn.
    let parts: serde_json::Value =
        serde_json::from_slice(&bench.source.manifest(&cx(), &bench.image).await.unwrap()).unwrap();
    let child = PinnedImage::new(repository(), digest(&parts["manifests"][0]));
    let scan = bench.source.attach(&cx(), &child, &Attachment::new("application/x.scan", "scan")).await.unwrap();
    let signature = bench.source.attach(&cx(), &scan, &Attachment::new("application/x.signature", "s")).await.unwrap();

    let copy = bench.copy().await.unwrap();
    assert_eq!(copy, PinnedImage::new(live(), index.digest));
    assert_eq!(bench.to.manifests_put().last(), Some(&index.digest.to_string()), "last");
    for wanted in [index.digest, child.digest, digest(&parts["manifests"][1]), bill, scan.digest, signature.digest] {
        assert!(bench.to.holds_manifest(wanted), "{wanted}");
    }
    assert!(bench.to.holds_blob(b"amd64") && bench.to.holds_blob(b"arm64") && bench.to.holds_blob(b"scan"));
    let attached = bench.target.referrers(&cx(), &PinnedImage::new(live(), scan.digest)).await.unwrap();
    assert_eq!(attached, [("application/x.signature".to_owned(), signature.digest)]);
    assert_eq!(bench.target.tags(&cx(), &live()).await.unwrap(), []);

    bench.to.state().log.clear();
    bench.copy().await.unwrap();
    assert_eq!((bench.to.count("PUT", "/"), bench.to.count("POST", "/")), (0, 0), "what is there is not sent again");
}

#[tokio::test]
async fn fake_takes_blobs_from_its_own_repositories_and_is_sent_none() {
    let bench = Bench::new(b"layer").await;
    let same = &bench.source;
    let puts = bench.from.count("PUT", "/blobs/");
    let copy = same.copy_from(&cx(), same, &bench.image, &live()).await.unwrap();
    assert!(same.contains(&cx(), &copy).await.unwrap());
    assert_eq!(bench.from.count("PUT", "/blobs/"), puts);
    assert_eq!(bench.from.count("POST", "from=shop%2Fbackend"), 2, "layer and configuration");
    assert_eq!(bench.from.count("GET", "/blobs/"), 0);

    // Another client of it is known by the host in the image's name.
    let named = format!("{}/{}", bench.from.address, repository());
    let image = PinnedImage::new(named.parse().unwrap(), bench.image.digest);
    let other = registry(&bench.from);
    other.copy_from(&cx(), same, &image, &"third/backend".parse().unwrap()).await.unwrap();
    assert_eq!(bench.from.count("GET", "/blobs/"), 0);
}

#[tokio::test]
async fn fake_that_lends_no_blobs_is_sent_them() {
    let bench = Bench::new(b"layer").await;
    let denied = Act::Answer { status: 403, retry_after: None, body: String::new() };
    bench.from.fault(Method::POST, "mount=", 9, denied);
    let copy = bench.source.copy_from(&cx(), &bench.source, &bench.image, &live()).await.unwrap();
    assert!(bench.source.contains(&cx(), &copy).await.unwrap());
    assert_eq!(bench.from.count("GET", "/blobs/"), 2);
}

#[tokio::test]
async fn fake_whose_token_server_refuses_the_other_repository_is_sent_the_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let server = fake(Logins::bearer(Some(LOGIN))).await;
    let source = registry(&server).credentials(deploy());
    let image = source.push(&cx(), &image(dir.path(), b"layer"), &repository()).await.unwrap();
    // Who reads has a token from before; who writes gets one for its own repository, and none for both.
    assert!(source.contains(&cx(), &image).await.unwrap());
    server.state().logins.as_mut().unwrap().close("shop/backend");
    let named = format!("{}/{}", server.address, repository()).parse().unwrap();
    let target = registry(&server).credentials(deploy());
    let copy = target.copy_from(&cx(), &source, &PinnedImage::new(named, image.digest), &live()).await.unwrap();
    assert!(target.contains(&cx(), &copy).await.unwrap());
    assert_eq!(server.count("GET", "/blobs/"), 2, "layer and configuration");
    let asked = server.state().logins.as_ref().unwrap().asked().to_vec();
    assert!(
        asked.iter().any(|asked| asked.contains("live%2Fbackend") && asked.contains("shop%2Fbackend")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn fake_whose_blob_is_damaged_on_the_way_is_read_again_and_nothing_wrong_arrives() {
    clock::stand_still_while_waiting();
    let bench = Bench::new(b"layer").await;
    let hex = Digest::of("layer").to_hex();
    bench.from.fault(Method::GET, &hex, 1, Act::Damage);
    bench.copy().await.unwrap();
    assert!(bench.to.holds_blob(b"layer") && !bench.to.holds_blob(b"something else"));
    assert_eq!(bench.from.count("GET", &hex), 2);
}

#[tokio::test]
async fn fake_whose_blob_stays_damaged_is_named_and_the_image_is_not_there() {
    clock::stand_still_while_waiting();
    assert_eq!("layer of bytes".len(), "something else".len(), "only the digest tells them apart");
    let bench = Bench::new(b"layer of bytes").await;
    bench.from.fault(Method::GET, &Digest::of("layer of bytes").to_hex(), 99, Act::Damage);
    let error = bench.copy().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Corrupt, Effect::Partial), "{error:?}");
    let report = error.report();
    for part in
        ["`shop/backend` of `registry`", &Digest::of("layer of bytes").to_string(), &bench.from.address.to_string()]
    {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(!bench.to.holds_manifest(bench.image.digest) && !bench.to.holds_blob(b"something else"));
}

#[tokio::test]
async fn fake_that_takes_half_a_blob_gets_it_in_a_new_session_from_the_start() {
    clock::stand_still_while_waiting();
    let layer = vec![7; 3 * 1024 * 1024];
    let bench = Bench::new(&layer).await;
    let hex = Digest::of(&layer).to_hex();
    bench.to.fault(Method::PUT, &hex, 2, Act::Reset);
    bench.copy().await.unwrap();
    assert!(bench.to.holds_blob(&layer));
    let mut puts: Vec<_> = bench.to.state().log.iter().filter(|line| line.starts_with("PUT")).cloned().collect();
    puts.retain(|line| line.contains(&hex));
    puts.dedup();
    assert_eq!(puts.len(), 3, "each in a session of its own: {puts:?}");
}

#[tokio::test]
async fn fake_that_lists_an_attachment_which_is_gone_is_copied_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (index, bill) = many(dir.path());
    let bench = Bench::of(&index).await;
    let missing = Act::Answer { status: 404, retry_after: None, body: String::new() };
    bench.from.fault(Method::GET, &bill.to_hex(), 1, missing);
    bench.copy().await.unwrap();
    assert!(bench.to.holds_manifest(index.digest) && !bench.to.holds_manifest(bill));
}

#[tokio::test]
async fn fake_without_referrers_api_gets_the_tag_that_stands_in_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (index, bill) = many(dir.path());
    let bench = Bench::of(&index).await;
    bench.to.state().referrers = false;
    let copy = bench.copy().await.unwrap();
    let found = bench.target.referrers(&cx(), &copy).await.unwrap();
    assert_eq!(found, [("application/spdx+json".to_owned(), bill)]);
}

#[tokio::test]
async fn fake_without_the_image_is_named_before_anything_is_sent() {
    let bench = Bench::new(b"layer").await;
    let image = PinnedImage::new(repository(), Digest::of("another"));
    let error = bench.target.copy_from(&cx(), &bench.source, &image, &live()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None), "{error:?}");
    assert!(error.report().contains("`shop/backend` of `registry`"), "{}", error.report());
    assert_eq!(bench.to.state().log, [""; 0]);
    let elsewhere = "ghcr.io/live/backend".parse().unwrap();
    let error = bench.target.copy_from(&cx(), &bench.source, &bench.image, &elsewhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[tokio::test]
async fn fake_of_a_cancelled_copy_has_no_manifest() {
    let bench = Bench::new(b"layer").await;
    bench.to.fault(Method::PUT, &Digest::of("layer").to_hex(), 1, Act::Hang);
    let token = CancellationToken::new();
    let (context, to) = (cx().with_cancellation(token.clone()), live());
    let copy = bench.target.copy_from(&context, &bench.source, &bench.image, &to);
    let cancel = async {
        while bench.to.count("PUT", &Digest::of("layer").to_hex()) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        token.cancel();
    };
    let error = tokio::join!(copy, cancel).0.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Cancelled, Effect::Partial), "{error:?}");
    assert!(!bench.to.holds_manifest(bench.image.digest));
    bench.copy().await.unwrap();
    assert!(bench.to.holds_manifest(bench.image.digest));
}

#[cfg(feature = "local")]
#[tokio::test]
async fn a_layout_that_is_damaged_is_named_by_its_file() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let folder = dir.path().join("registry");
    let from = ecolaura_deploy_core::local::registry::LayoutRegistry::new(&folder, "folder".parse().unwrap());
    let pinned = from.push(&cx(), &image(&dir.path().join("image"), b"layer"), &repository()).await.unwrap();
    let file = folder.join("shop+backend/blobs/sha256").join(Digest::of("layer").to_hex());
    std::fs::write(&file, "lbyer").unwrap();
    let error = registry(&server).copy_from(&cx(), &from, &pinned, &live()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(error.report().contains(&file.display().to_string()), "{}", error.report());
    assert!(!server.holds_manifest(pinned.digest) && !server.holds_blob(b"lbyer"));
}

#[tokio::test]
async fn a_pipeline_promotes_an_image_once() {
    let bench = Bench::new(b"layer").await;
    let Bench { from, to, source, target, image } = bench;
    let (source, target) = (Arc::new(source), Arc::new(target));
    let step = CopyImage::new(source.clone(), Arc::clone(&target), live());
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let run = async || {
        let mut pipeline = Pipeline::new("promote".parse().unwrap(), "test".parse().unwrap());
        pipeline.add("copy", step.clone(), constant(image.clone()));
        let plan = runner.plan(&cx(), pipeline).await.unwrap();
        let action = plan.summary().steps[0].changes[0].action;
        runner.run(&cx(), plan).await.unwrap();
        action
    };
    assert_eq!(run().await, Action::Create);
    assert!(to.holds_manifest(image.digest));
    assert_eq!(run().await, Action::NoOp);
    // What is attached later is promoted too.
    let bill = source.attach(&cx(), &image, &Attachment::new("application/spdx+json", "bill")).await.unwrap();
    assert_eq!(run().await, Action::Create);
    assert!(to.holds_manifest(bill.digest));
    assert_eq!(run().await, Action::NoOp);

    let missing = PinnedImage::new(repository(), Digest::of("another"));
    let error = step.plan(&cx(), Planned::Known(missing)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.report().contains("push the image there"), "{error:?}");
    assert_eq!(from.count("DELETE", "/") + to.count("DELETE", "/"), 0);
}
