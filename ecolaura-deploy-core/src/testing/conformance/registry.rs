//! The suite of [`Registry`].
#![expect(clippy::panic, reason = "a suite fails by panicking, as tests do")]

use std::{any::Any, path::PathBuf, sync::Arc};

use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use super::{
    fencing::{Deployers, left_out, refused},
    layout::{blob_path, write_image},
    runner,
};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{Registry, TagChange},
    cdn::scratch::Scratch,
    vocabulary::{BuiltImage, Digest, EnvironmentName, PinnedImage, Repository, Tag},
};

/// A fresh, empty registry, and whatever must live as long as it.
#[derive(Debug)]
pub struct Fixture {
    /// The backend.
    pub registry: Arc<dyn Registry>,
    /// The same storage through another instance, as another process has it; the same one if there is no other.
    pub other: Arc<dyn Registry>,
    /// Dropped after the case: a temporary directory, a server.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl Fixture {
    /// `registry` with `guard` beside it.
    pub fn new(registry: Arc<dyn Registry>, guard: impl Any + Send + Sync) -> Self {
        Self { other: Arc::clone(&registry), registry, guard: Box::new(guard) }
    }

    /// With another instance on the same storage.
    pub fn other(mut self, other: Arc<dyn Registry>) -> Self {
        self.other = other;
        self
    }
}

/// Runs every case, each on a fresh registry of `make`, and panics with the names of those that failed and why. Cases
/// about tags and older epochs follow the registry's capabilities.
///
/// # Panics
/// If a case fails.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Fixture>,
{
    runner::run("registry", CASES, async || Bench::new(make().await)).await;
}

const CASES: &[(&str, runner::Case<Bench>)] = runner::cases![
    an_empty_registry_has_nothing,
    a_pushed_image_is_there_byte_by_byte,
    a_push_sets_no_tag,
    pushing_twice_is_pushing_once,
    pushing_at_the_same_time_is_pushing_once,
    a_layout_that_is_not_there_is_named,
    a_blob_that_is_missing_is_named_and_nothing_is_there,
    a_blob_that_is_damaged_is_named_and_nothing_is_there,
    repositories_are_apart,
    what_is_attached_goes_along,
    a_tag_is_set_and_the_other_instance_sees_it,
    the_same_digest_again_is_success,
    a_tag_to_what_is_not_there_is_refused,
    a_tag_moves_or_is_immutable,
    a_tag_can_be_removed,
    of_many_taggers_one_is_last,
    unknown_digests_are_not_found,
    a_cancelled_call_does_nothing,
    an_older_epoch_changes_nothing,
];

struct Bench {
    registry: Arc<dyn Registry>,
    other: Arc<dyn Registry>,
    _guard: Box<dyn Any + Send + Sync>,
    cx: Context,
    files: Scratch,
    repository: Repository,
}

impl Bench {
    fn new(Fixture { registry, other, guard }: Fixture) -> Result<Self> {
        let files = Scratch::new().map_err(|error| Error::io("conformance.start", std::env::temp_dir(), error))?;
        let cx = Context::new(EnvironmentName::new("test")?);
        Ok(Self { registry, other, _guard: guard, cx, files, repository: "ecolaura/backend".parse()? })
    }

    /// An image whose layer is `content`, in a layout of its own.
    fn image(&self, content: &str) -> Result<BuiltImage> {
        write_image(&self.layout(content), content.as_bytes(), None)
    }

    fn layout(&self, content: &str) -> PathBuf {
        self.files.path().join(Digest::of(content).to_hex())
    }

    async fn push(&self, content: &str) -> Result<PinnedImage> {
        self.registry.push(&self.cx, &self.image(content)?, &self.repository).await
    }

    fn change(&self, tag: &str, to: Option<Digest>) -> Result<TagChange> {
        Ok(TagChange::new(self.repository.clone(), Tag::new(tag)?, to))
    }

    async fn tag(&self, tag: &str, to: Digest) -> Result<Option<Digest>> {
        self.registry.set_tag(&self.cx, &self.change(tag, Some(to))?).await
    }

    async fn tagged(&self, tag: &str) -> Result<Option<Digest>> {
        let found = self.other.resolve(&self.cx, &self.repository, &Tag::new(tag)?).await?;
        Ok(found.map(|image| image.digest))
    }

    async fn read(&self, digest: Digest) -> Result<Vec<u8>> {
        let mut blob = self.other.blob(&self.cx, &self.repository, &digest).await?;
        let mut bytes = Vec::new();
        let read = blob.read_to_end(&mut bytes).await;
        read.map_err(|error| Error::new(ErrorKind::Corrupt, "conformance.read", error.to_string()))?;
        Ok(bytes)
    }
}

fn fails<T>(kind: ErrorKind, result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("succeeded, expected an error: {kind}"),
        Err(error) if error.kind() == kind => error,
        Err(error) => panic!("expected an error: {kind}, got {error:?}"),
    }
}

fn names(error: &Error, text: &str) {
    assert!(error.report().contains(text), "expected `{text}` in: {}", error.report());
}

async fn an_empty_registry_has_nothing(bench: &Bench) -> Result<()> {
    let image = PinnedImage::new(bench.repository.clone(), Digest::of("nothing"));
    assert_eq!(bench.tagged("v1").await?, None);
    assert!(!bench.registry.contains(&bench.cx, &image).await?);
    assert!(bench.registry.referrers(&bench.cx, &image).await?.is_empty());
    Ok(())
}

async fn a_pushed_image_is_there_byte_by_byte(bench: &Bench) -> Result<()> {
    // More than one buffer of any reader.
    let content = "layer ".repeat(500_000);
    let image = bench.image(&content)?;
    let pinned = bench.registry.push(&bench.cx, &image, &bench.repository).await?;
    assert_eq!(pinned, PinnedImage::new(bench.repository.clone(), image.digest));
    assert!(bench.other.contains(&bench.cx, &pinned).await?);
    assert_eq!(Digest::of(bench.other.manifest(&bench.cx, &pinned).await?), image.digest);
    assert!(bench.read(Digest::of(&content)).await? == content.as_bytes(), "the layer differs");
    Ok(())
}

async fn a_push_sets_no_tag(bench: &Bench) -> Result<()> {
    bench.push("a").await?;
    for tag in ["latest", "a"] {
        assert_eq!(bench.tagged(tag).await?, None);
    }
    Ok(())
}

async fn pushing_twice_is_pushing_once(bench: &Bench) -> Result<()> {
    let first = bench.push("a").await?;
    assert_eq!(bench.push("a").await?, first);
    assert!(bench.other.contains(&bench.cx, &first).await?);
    Ok(())
}

async fn pushing_at_the_same_time_is_pushing_once(bench: &Bench) -> Result<()> {
    let (a, b) = (bench.image("a")?, bench.image("b")?);
    let pushes = [(&a, &bench.registry), (&a, &bench.other), (&b, &bench.registry), (&b, &bench.other)];
    let pushes = pushes.map(|(image, registry)| registry.push(&bench.cx, image, &bench.repository));
    for pinned in futures_util::future::try_join_all(pushes).await? {
        assert!(bench.registry.contains(&bench.cx, &pinned).await?);
    }
    Ok(())
}

async fn a_layout_that_is_not_there_is_named(bench: &Bench) -> Result<()> {
    let mut image = bench.image("a")?;
    image.layout = bench.files.path().join("gone-away");
    let error = fails(ErrorKind::NotFound, bench.registry.push(&bench.cx, &image, &bench.repository).await);
    names(&error, "gone-away");
    Ok(())
}

async fn a_blob_that_is_missing_is_named_and_nothing_is_there(bench: &Bench) -> Result<()> {
    let image = bench.image("a")?;
    let layer = Digest::of("a");
    let path = blob_path(&image.layout, layer);
    std::fs::remove_file(&path).map_err(|error| Error::io("conformance.remove", &path, error))?;
    let error = fails(ErrorKind::NotFound, bench.registry.push(&bench.cx, &image, &bench.repository).await);
    names(&error, &layer.to_string());
    let pinned = PinnedImage::new(bench.repository.clone(), image.digest);
    assert!(!bench.registry.contains(&bench.cx, &pinned).await?);
    assert_eq!(bench.push("a").await?, pinned, "after mending it, it just works");
    Ok(())
}

async fn a_blob_that_is_damaged_is_named_and_nothing_is_there(bench: &Bench) -> Result<()> {
    let image = bench.image("a")?;
    let path = blob_path(&image.layout, Digest::of("a"));
    std::fs::write(&path, "b").map_err(|error| Error::io("conformance.write", &path, error))?;
    let error = fails(ErrorKind::Corrupt, bench.registry.push(&bench.cx, &image, &bench.repository).await);
    for digest in ["a", "b"] {
        names(&error, &Digest::of(digest).to_string());
    }
    let pinned = PinnedImage::new(bench.repository.clone(), image.digest);
    assert!(!bench.registry.contains(&bench.cx, &pinned).await?);
    assert_eq!(bench.push("a").await?, pinned, "after mending it, it just works");
    Ok(())
}

async fn repositories_are_apart(bench: &Bench) -> Result<()> {
    let pinned = bench.push("a").await?;
    bench.tag("v1", pinned.digest).await?;
    for name in ["ecolaura", "ecolaura/backend/blobs", "localhost:5000/ecolaura/backend"] {
        let elsewhere = PinnedImage::new(name.parse()?, pinned.digest);
        assert!(!bench.registry.contains(&bench.cx, &elsewhere).await?, "{name}");
        let tag = bench.registry.resolve(&bench.cx, &elsewhere.repository, &Tag::new("v1")?).await?;
        assert_eq!(tag, None, "{name}");
        fails(
            ErrorKind::NotFound,
            bench.registry.blob(&bench.cx, &elsewhere.repository, &Digest::of("a")).await.map(|_| ()),
        );
    }
    Ok(())
}

async fn what_is_attached_goes_along(bench: &Bench) -> Result<()> {
    let image = write_image(&bench.layout("billed"), b"billed", Some("the bill"))?;
    let pinned = bench.registry.push(&bench.cx, &image, &bench.repository).await?;
    let attached = bench.other.referrers(&bench.cx, &pinned).await?;
    let [(kind, digest)] = attached.as_slice() else { panic!("{attached:?}") };
    assert_eq!(kind, "application/vnd.cyclonedx+json");
    let artifact = PinnedImage::new(bench.repository.clone(), *digest);
    let manifest = bench.other.manifest(&bench.cx, &artifact).await?;
    assert_eq!(Digest::of(&manifest), *digest);
    assert_eq!(bench.read(Digest::of("the bill")).await?, b"the bill");
    let plain = bench.push("plain").await?;
    assert!(bench.other.referrers(&bench.cx, &plain).await?.is_empty());
    Ok(())
}

async fn a_tag_is_set_and_the_other_instance_sees_it(bench: &Bench) -> Result<()> {
    let pinned = bench.push("a").await?;
    assert_eq!(bench.tag("v1", pinned.digest).await?, None);
    assert_eq!(bench.tagged("v1").await?, Some(pinned.digest));
    assert_eq!(bench.tagged("v2").await?, None);
    Ok(())
}

async fn the_same_digest_again_is_success(bench: &Bench) -> Result<()> {
    let pinned = bench.push("a").await?;
    bench.tag("v1", pinned.digest).await?;
    assert_eq!(bench.tag("v1", pinned.digest).await?, Some(pinned.digest));
    assert_eq!(bench.tagged("v1").await?, Some(pinned.digest));
    Ok(())
}

async fn a_tag_to_what_is_not_there_is_refused(bench: &Bench) -> Result<()> {
    for pushed in [false, true] {
        if pushed {
            bench.push("a").await?;
        }
        let missing = Digest::of("missing");
        let error = fails(ErrorKind::NotFound, bench.tag("v1", missing).await);
        names(&error, &missing.to_string());
        assert_eq!(bench.tagged("v1").await?, None);
    }
    Ok(())
}

async fn a_tag_moves_or_is_immutable(bench: &Bench) -> Result<()> {
    let (first, second) = (bench.push("a").await?.digest, bench.push("b").await?.digest);
    bench.tag("v1", first).await?;
    let moved = bench.tag("v1", second).await;
    if bench.registry.capabilities().immutable_tags {
        let error = fails(ErrorKind::AlreadyExists, moved);
        names(&error, &first.to_string());
        names(&error, &second.to_string());
        assert_eq!(bench.tagged("v1").await?, Some(first));
    } else {
        assert_eq!(moved?, Some(first));
        assert_eq!(bench.tagged("v1").await?, Some(second));
    }
    Ok(())
}

async fn a_tag_can_be_removed(bench: &Bench) -> Result<()> {
    let pinned = bench.push("a").await?;
    bench.tag("v1", pinned.digest).await?;
    let change = bench.change("v1", None)?;
    let removed = bench.registry.set_tag(&bench.cx, &change).await;
    if !bench.registry.capabilities().remove_tags {
        fails(ErrorKind::Unsupported, removed);
        return Ok(());
    }
    assert_eq!(removed?, Some(pinned.digest));
    assert_eq!(bench.tagged("v1").await?, None);
    assert!(bench.registry.contains(&bench.cx, &pinned).await?, "the image stays without its tag");
    assert_eq!(bench.registry.set_tag(&bench.cx, &change).await?, None, "once more is success");
    Ok(())
}

async fn of_many_taggers_one_is_last(bench: &Bench) -> Result<()> {
    let mut digests = Vec::new();
    for content in ["a", "b", "c", "d"] {
        digests.push(bench.push(content).await?.digest);
    }
    let change = |tag: &str, to: Digest| bench.change(tag, Some(to));
    let mut changes = Vec::new();
    for (index, digest) in digests.iter().enumerate() {
        changes.push(change("shared", *digest)?);
        changes.push(change(&format!("own-{index}"), *digest)?);
    }
    let instances = [&bench.registry, &bench.other].into_iter().cycle();
    let tagging = changes.iter().zip(instances).map(|(change, registry)| registry.set_tag(&bench.cx, change));
    let results = futures_util::future::join_all(tagging).await;
    let won = results.iter().step_by(2).filter(|result| result.is_ok()).count();
    let expected = if bench.registry.capabilities().immutable_tags { 1 } else { digests.len() };
    assert_eq!(won, expected);
    let last = bench.tagged("shared").await?;
    assert!(last.is_some_and(|last| digests.contains(&last)), "{last:?}");
    for (index, digest) in digests.iter().enumerate() {
        assert_eq!(bench.tagged(&format!("own-{index}")).await?, Some(*digest), "no tag is lost");
    }
    Ok(())
}

async fn unknown_digests_are_not_found(bench: &Bench) -> Result<()> {
    bench.push("a").await?;
    let missing = PinnedImage::new(bench.repository.clone(), Digest::of("missing"));
    names(&fails(ErrorKind::NotFound, bench.registry.manifest(&bench.cx, &missing).await), &missing.digest.to_string());
    let blob = bench.registry.blob(&bench.cx, &bench.repository, &missing.digest).await.map(|_| ());
    names(&fails(ErrorKind::NotFound, blob), &missing.digest.to_string());
    Ok(())
}

async fn a_cancelled_call_does_nothing(bench: &Bench) -> Result<()> {
    let pinned = bench.push("a").await?;
    let token = CancellationToken::new();
    token.cancel();
    let cx = bench.cx.clone().with_cancellation(token);
    let other = bench.image("b")?;
    fails(ErrorKind::Cancelled, bench.registry.push(&cx, &other, &bench.repository).await);
    fails(ErrorKind::Cancelled, bench.registry.set_tag(&cx, &bench.change("v1", Some(pinned.digest))?).await);
    let other = PinnedImage::new(bench.repository.clone(), other.digest);
    assert!(!bench.registry.contains(&bench.cx, &other).await?);
    assert_eq!(bench.tagged("v1").await?, None);
    Ok(())
}

async fn an_older_epoch_changes_nothing(bench: &Bench) -> Result<()> {
    if !bench.registry.capabilities().fences {
        left_out("registry");
        return Ok(());
    }
    let Deployers { older, epoch, newer, outside, elsewhere } = Deployers::new(&bench.cx);
    let (first, second) = (bench.push("a").await?.digest, bench.push("b").await?.digest);
    bench.registry.set_tag(&epoch, &bench.change("v1", Some(first))?).await?;
    for (tag, to) in [("v1", Some(first)), ("v1", Some(second)), ("v1", None), ("v2", Some(second))] {
        refused(bench.other.set_tag(&older, &bench.change(tag, to)?).await, &older, &epoch);
    }
    assert_eq!((bench.tagged("v1").await?, bench.tagged("v2").await?), (Some(first), None));
    let third = bench.other.push(&older, &bench.image("c")?, &bench.repository).await?;
    assert!(bench.registry.contains(&bench.cx, &third).await?, "a push by digest takes nothing from anybody");

    let v2 = bench.change("v2", Some(second))?;
    bench.other.set_tag(&outside, &v2).await?;
    refused(bench.registry.set_tag(&older, &v2).await, &older, &epoch);
    bench.registry.set_tag(&newer, &v2).await?;
    refused(bench.other.set_tag(&epoch, &v2).await, &epoch, &newer);
    bench.other.set_tag(&elsewhere, &bench.change("v3", Some(first))?).await?;
    assert_eq!((bench.tagged("v2").await?, bench.tagged("v3").await?), (Some(second), Some(first)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::fake::registry::FakeRegistry, vocabulary::Name};

    #[tokio::test]
    async fn the_fake_conforms() {
        suite(async || Fixture::new(Arc::new(FakeRegistry::new(Name::new("registry").unwrap())), ())).await;
        let immutable = || FakeRegistry::new(Name::new("registry").unwrap()).immutable_tags();
        suite(async || Fixture::new(Arc::new(immutable()), ())).await;
    }
}
