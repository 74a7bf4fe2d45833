//! The suite of [`CdnPublisher`].
#![expect(clippy::panic, reason = "a suite fails by panicking, as tests do")]

use std::{any::Any, collections::BTreeMap, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{
    fencing::{Deployers, left_out, refused},
    runner,
};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{Activation, CdnPublisher, Invalidation, SiteManifest, SiteObject, UploadRequest},
    cdn::{
        PreparedSite, PublishOptions, content_type, default_cache_control, plan, publish, scratch::Scratch, switch_back,
    },
    vocabulary::{CacheControl, Digest, EnvironmentName},
};

/// A fresh, empty site, and whatever must live as long as it.
#[derive(Debug)]
pub struct Fixture {
    /// The backend.
    pub publisher: Arc<dyn CdnPublisher>,
    /// Dropped after the case: a temporary directory, a server.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl Fixture {
    /// `publisher` with `guard` beside it.
    pub fn new(publisher: Arc<dyn CdnPublisher>, guard: impl Any + Send + Sync) -> Self {
        Self { publisher, guard: Box::new(guard) }
    }
}

/// Runs every case, each on a fresh site of `make`, and panics with the names of those that failed and why.
/// Says so where the case about older epochs is left out.
///
/// # Panics
/// If a case fails.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Fixture>,
{
    runner::run("cdn publisher", CASES, async || Bench::new(make().await)).await;
}

const CASES: &[(&str, runner::Case<Bench>)] = runner::cases![
    a_new_site_has_no_history,
    content_is_sent_once,
    an_upload_does_not_change_what_is_served,
    a_file_that_changed_is_corrupt_and_not_stored,
    a_file_that_is_gone_is_named,
    a_release_without_its_content_is_refused,
    a_release_is_served_and_recorded,
    activating_twice_is_activating_once,
    another_live_release_is_a_conflict,
    of_two_publishers_one_wins,
    the_newest_release_is_last,
    headers_change_without_sending_content,
    a_publish_that_is_planned_can_be_taken_back_whatever_names_promise,
    an_invalidation_can_be_repeated,
    pruning_keeps_what_kept_releases_name,
    pruning_never_takes_the_live_release,
    a_cancelled_call_does_nothing,
    an_older_epoch_changes_nothing,
];

/// The site under test and the files it is fed from.
struct Bench {
    publisher: Arc<dyn CdnPublisher>,
    _guard: Box<dyn Any + Send + Sync>,
    cx: Context,
    files: Scratch,
}

impl Bench {
    fn new(Fixture { publisher, guard }: Fixture) -> Result<Self> {
        let files = Scratch::new().map_err(|error| Error::io("conformance.start", std::env::temp_dir(), error))?;
        Ok(Self { publisher, _guard: guard, cx: Context::new(EnvironmentName::new("test")?), files })
    }

    /// A request to store `content` as `key`, from a file that has it.
    fn request(&self, key: &str, content: &str) -> Result<UploadRequest> {
        let path = self.files.path().join(Digest::of(content).to_hex());
        std::fs::write(&path, content).map_err(|error| Error::io("conformance.write", &path, error))?;
        Ok(UploadRequest::new(key, path, object(key, content)))
    }

    /// A site of one file.
    fn single(&self, key: &str, content: &str, cache: CacheControl) -> Result<PreparedSite> {
        let UploadRequest { source, mut object, .. } = self.request(key, content)?;
        object.cache_control = cache;
        let manifest = SiteManifest([(key.to_owned(), object)].into());
        Ok(PreparedSite::new(manifest, [(key.to_owned(), source)].into()))
    }

    async fn upload(&self, key: &str, content: &str) -> Result<bool> {
        self.publisher.upload(&self.cx, &self.request(key, content)?).await
    }

    /// Uploads and activates in place of what is live.
    async fn release(&self, files: &[(&str, &str)]) -> Result<Digest> {
        for (key, content) in files {
            self.upload(key, content).await?;
        }
        let live = self.live().await?;
        self.publisher.activate(&self.cx, &Activation::new(site(files), live)).await?;
        Ok(site(files).id())
    }

    async fn live(&self) -> Result<Option<Digest>> {
        Ok(self.publisher.history(&self.cx).await?.live)
    }

    async fn kept(&self) -> Result<Vec<Digest>> {
        Ok(self.publisher.history(&self.cx).await?.releases.into_iter().map(|(id, _)| id).collect())
    }
}

fn object(key: &str, content: &str) -> SiteObject {
    SiteObject::new(Digest::of(content), content.len() as u64, content_type(key), default_cache_control(key))
}

fn site(files: &[(&str, &str)]) -> SiteManifest {
    let objects: BTreeMap<_, _> = files.iter().map(|(key, text)| ((*key).to_owned(), object(key, text))).collect();
    SiteManifest(objects)
}

fn fails<T>(kind: ErrorKind, result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("succeeded, expected an error: {kind}"),
        Err(error) if error.kind() == kind => error,
        Err(error) => panic!("expected an error: {kind}, got {error:?}"),
    }
}

const FIRST: &[(&str, &str)] = &[("index.html", "one"), ("app.1111111a.js", "js one"), ("logo.2222222b.svg", "logo")];
const SECOND: &[(&str, &str)] = &[("index.html", "two"), ("app.3333333c.js", "js two"), ("logo.2222222b.svg", "logo")];
const THIRD: &[(&str, &str)] = &[("index.html", "three"), ("logo.2222222b.svg", "logo")];

async fn a_new_site_has_no_history(bench: &Bench) -> Result<()> {
    let history = bench.publisher.history(&bench.cx).await?;
    assert_eq!((history.live, history.releases.len()), (None, 0));
    assert_eq!(bench.publisher.missing(&bench.cx, &site(FIRST)).await?.len(), 3);
    assert!(bench.publisher.prune(&bench.cx, 1).await?.is_empty());
    Ok(())
}

async fn content_is_sent_once(bench: &Bench) -> Result<()> {
    assert!(bench.upload("app.1111111a.js", "js one").await?);
    assert!(!bench.upload("app.1111111a.js", "js one").await?);
    Ok(())
}

async fn an_upload_does_not_change_what_is_served(bench: &Bench) -> Result<()> {
    let first = bench.release(FIRST).await?;
    bench.upload("index.html", "two").await?;
    assert_eq!(bench.live().await?, Some(first));
    assert!(bench.publisher.missing(&bench.cx, &site(FIRST)).await?.is_empty());
    assert_eq!(bench.publisher.missing(&bench.cx, &site(SECOND)).await?, ["app.3333333c.js"]);
    Ok(())
}

async fn a_file_that_changed_is_corrupt_and_not_stored(bench: &Bench) -> Result<()> {
    let mut request = bench.request("index.html", "before")?;
    request.object = object("index.html", "behind");
    fails(ErrorKind::Corrupt, bench.publisher.upload(&bench.cx, &request).await);
    let wanted = site(&[("index.html", "behind")]);
    assert_eq!(bench.publisher.missing(&bench.cx, &wanted).await?, ["index.html"]);
    Ok(())
}

async fn a_file_that_is_gone_is_named(bench: &Bench) -> Result<()> {
    let request = UploadRequest::new("a.txt", bench.files.path().join("gone-away"), object("a.txt", "x"));
    let error = fails(ErrorKind::NotFound, bench.publisher.upload(&bench.cx, &request).await);
    assert!(error.report().contains("gone-away"), "{}", error.report());
    Ok(())
}

async fn a_release_without_its_content_is_refused(bench: &Bench) -> Result<()> {
    let first = bench.release(FIRST).await?;
    let activation = Activation::new(site(SECOND), Some(first));
    let error = fails(ErrorKind::NotFound, bench.publisher.activate(&bench.cx, &activation).await);
    assert!(error.report().contains("app.3333333c.js"), "{}", error.report());
    assert_eq!(bench.live().await?, Some(first));
    Ok(())
}

async fn a_release_is_served_and_recorded(bench: &Bench) -> Result<()> {
    let first = bench.release(FIRST).await?;
    let history = bench.publisher.history(&bench.cx).await?;
    assert_eq!(history.live, Some(first));
    assert_eq!(history.live_manifest(), Some(&site(FIRST)));
    Ok(())
}

async fn activating_twice_is_activating_once(bench: &Bench) -> Result<()> {
    let first = bench.release(FIRST).await?;
    for expected in [None, Some(first), Some(Digest::of("other"))] {
        bench.publisher.activate(&bench.cx, &Activation::new(site(FIRST), expected)).await?;
    }
    assert_eq!(bench.kept().await?, [first]);
    Ok(())
}

async fn another_live_release_is_a_conflict(bench: &Bench) -> Result<()> {
    let first = bench.release(FIRST).await?;
    let second = bench.release(SECOND).await?;
    bench.upload("index.html", "three").await?;
    for expected in [None, Some(first)] {
        let activation = Activation::new(site(THIRD), expected);
        let error = fails(ErrorKind::Conflict, bench.publisher.activate(&bench.cx, &activation).await);
        assert!(error.report().contains(&second.to_string()), "{}", error.report());
        assert!(expected.is_none_or(|id| error.report().contains(&id.to_string())), "{}", error.report());
    }
    assert_eq!(bench.live().await?, Some(second));
    Ok(())
}

async fn of_two_publishers_one_wins(bench: &Bench) -> Result<()> {
    let first = bench.release(FIRST).await?;
    for (key, content) in SECOND.iter().chain(THIRD) {
        bench.upload(key, content).await?;
    }
    let activate = async |files| {
        let activation = Activation::new(site(files), Some(first));
        bench.publisher.activate(&bench.cx, &activation).await
    };
    let (one, other) = futures_util::future::join(activate(SECOND), activate(THIRD)).await;
    let (winner, loser) = if one.is_ok() { (SECOND, other) } else { (THIRD, one) };
    fails(ErrorKind::Conflict, loser);
    assert_eq!(bench.live().await?, Some(site(winner).id()));
    Ok(())
}

async fn the_newest_release_is_last(bench: &Bench) -> Result<()> {
    let first = bench.release(FIRST).await?;
    let second = bench.release(SECOND).await?;
    assert_eq!(bench.kept().await?, [first, second]);
    bench.release(FIRST).await?;
    assert_eq!(bench.kept().await?, [second, first], "a release that is served again is the newest");
    Ok(())
}

async fn headers_change_without_sending_content(bench: &Bench) -> Result<()> {
    bench.release(FIRST).await?;
    let mut request = bench.request("index.html", "one")?;
    request.object.headers.insert("x-frame-options".into(), "DENY".into());
    bench.publisher.upload(&bench.cx, &request).await?;
    let mut manifest = site(FIRST);
    manifest.0.insert("index.html".into(), request.object);
    bench.publisher.activate(&bench.cx, &Activation::new(manifest.clone(), Some(site(FIRST).id()))).await?;
    assert_eq!(bench.publisher.history(&bench.cx).await?.live_manifest(), Some(&manifest));
    assert!(bench.publisher.missing(&bench.cx, &manifest).await?.is_empty());
    Ok(())
}

/// A name that is for ever in one release and not in the other, with two contents.
async fn a_publish_that_is_planned_can_be_taken_back_whatever_names_promise(bench: &Bench) -> Result<()> {
    let (cx, publisher) = (&bench.cx, &bench.publisher);
    for (key, before, after) in [
        ("goes.js", CacheControl::Immutable, CacheControl::Revalidate),
        ("comes.js", CacheControl::Revalidate, CacheControl::Immutable),
    ] {
        let (first, second) = (bench.single(key, "one", before)?, bench.single(key, "two", after)?);
        publish(cx, publisher.as_ref(), &first, &PublishOptions::default()).await?;
        if publisher.capabilities().in_place {
            let error = fails(ErrorKind::InvalidInput, plan(cx, publisher.as_ref(), &second).await);
            assert!(error.report().contains(key), "{}", error.report());
            continue;
        }
        publish(cx, publisher.as_ref(), &second, &PublishOptions::default()).await?;
        switch_back(cx, publisher.as_ref(), Some(first.release())).await?;
        assert_eq!(bench.live().await?, Some(first.release()));
        assert!(publisher.missing(cx, first.manifest()).await?.is_empty());
    }
    Ok(())
}

async fn an_invalidation_can_be_repeated(bench: &Bench) -> Result<()> {
    bench.release(FIRST).await?;
    let wish = Invalidation::new("reference", vec!["/".into(), "/index.html".into()]);
    bench.publisher.invalidate(&bench.cx, &wish).await?;
    bench.publisher.invalidate(&bench.cx, &wish).await
}

async fn pruning_keeps_what_kept_releases_name(bench: &Bench) -> Result<()> {
    bench.release(FIRST).await?;
    let second = bench.release(SECOND).await?;
    let third = bench.release(THIRD).await?;
    assert_eq!(bench.publisher.prune(&bench.cx, 2).await?, ["app.1111111a.js"]);
    assert_eq!(bench.kept().await?, [second, third]);
    for kept in [SECOND, THIRD] {
        assert!(bench.publisher.missing(&bench.cx, &site(kept)).await?.is_empty());
    }
    assert!(bench.publisher.missing(&bench.cx, &site(FIRST)).await?.contains(&"app.1111111a.js".to_owned()));
    assert!(bench.publisher.prune(&bench.cx, 2).await?.is_empty());
    Ok(())
}

async fn pruning_never_takes_the_live_release(bench: &Bench) -> Result<()> {
    bench.release(FIRST).await?;
    let second = bench.release(SECOND).await?;
    bench.publisher.prune(&bench.cx, 0).await?;
    assert_eq!(bench.kept().await?, [second]);
    assert!(bench.publisher.missing(&bench.cx, &site(SECOND)).await?.is_empty());
    Ok(())
}

async fn a_cancelled_call_does_nothing(bench: &Bench) -> Result<()> {
    let first = bench.release(FIRST).await?;
    let second = bench.release(SECOND).await?;
    let token = CancellationToken::new();
    token.cancel();
    let cx = bench.cx.clone().with_cancellation(token);
    fails(ErrorKind::Cancelled, bench.publisher.upload(&cx, &bench.request("index.html", "three")?).await);
    fails(ErrorKind::Cancelled, bench.publisher.activate(&cx, &Activation::new(site(FIRST), Some(second))).await);
    fails(ErrorKind::Cancelled, bench.publisher.prune(&cx, 1).await);
    assert_eq!(bench.publisher.missing(&bench.cx, &site(THIRD)).await?, ["index.html"]);
    assert_eq!(bench.kept().await?, [first, second]);
    Ok(())
}

async fn an_older_epoch_changes_nothing(bench: &Bench) -> Result<()> {
    if !bench.publisher.capabilities().fences {
        left_out("cdn publisher");
        return Ok(());
    }
    let Deployers { older, epoch, newer, outside, elsewhere } = Deployers::new(&bench.cx);
    let (first, cdn) = (bench.release(FIRST).await?, &bench.publisher);
    for (key, content) in SECOND {
        cdn.upload(&older, &bench.request(key, content)?).await?;
    }
    let (second, to_second) = (site(SECOND).id(), Activation::new(site(SECOND), Some(first)));
    let to_first = Activation::new(site(FIRST), Some(second));
    cdn.activate(&epoch, &to_second).await?;
    for activation in [&to_first, &to_second] {
        refused(cdn.activate(&older, activation).await, &older, &epoch);
    }
    refused(cdn.prune(&older, 1).await, &older, &epoch);
    assert_eq!((bench.live().await?, bench.kept().await?), (Some(second), vec![first, second]));
    assert!(cdn.missing(&bench.cx, &site(FIRST)).await?.is_empty());

    cdn.activate(&outside, &to_second).await?;
    refused(cdn.activate(&older, &to_first).await, &older, &epoch);
    cdn.activate(&newer, &to_second).await?;
    refused(cdn.activate(&epoch, &to_first).await, &epoch, &newer);
    cdn.activate(&elsewhere, &to_first).await?;
    cdn.prune(&newer, 1).await?;
    refused(cdn.activate(&epoch, &to_second).await, &epoch, &newer);
    assert_eq!(bench.kept().await?, [first]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::fake::cdn_publisher::FakeCdn, vocabulary::Name};

    #[tokio::test]
    async fn the_fake_conforms() {
        suite(async || Fixture::new(Arc::new(FakeCdn::new(Name::new("web").unwrap())), ())).await;
    }
}
