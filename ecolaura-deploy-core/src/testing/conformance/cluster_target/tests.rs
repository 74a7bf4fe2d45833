use std::sync::Arc;

use super::*;
use crate::{
    Error, ErrorKind,
    backend::ClusterCapabilities,
    testing::fake::cluster_target::{Behaviour, FakeCluster},
    vocabulary::{Digest, Name, Repository},
};

fn images() -> Images {
    let image = |name: &str| PinnedImage::new(Repository::new("conformance/app").unwrap(), Digest::of(name));
    Images { first: image("v1"), second: image("v2"), crashing: image("crash"), never_ready: image("never") }
}

fn fake(capabilities: ClusterCapabilities) -> FakeCluster {
    let images = images();
    let missing = PinnedImage::new(images.first.repository.clone(), Digest::of("not there"));
    FakeCluster::new(Name::new("fake").unwrap())
        .capabilities(capabilities)
        .behaviour(images.crashing, Behaviour::CrashLoops)
        .behaviour(images.never_ready, Behaviour::NeverReady)
        .behaviour(missing, Behaviour::Missing)
}

fn fixture() -> Fixture {
    let (fake, images) = (Arc::new(fake(ClusterCapabilities::all())), images());
    let (asked, first) = (Arc::clone(&fake), images.first.clone());
    Fixture::new(fake, images).ask(move |address| {
        let answer = asked.answer(&address).map(|image| if image == first { "v1" } else { "v2" }.to_owned());
        async move { answer.ok_or_else(|| Error::new(ErrorKind::Unavailable, "ask", "nobody answers")) }
    })
}

#[tokio::test(start_paused = true)]
async fn the_fake_conforms() {
    suite(async || fixture()).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_can_do_less_and_cannot_be_asked_conforms() {
    let mut less = ClusterCapabilities::all();
    (less.candidates, less.weighted_traffic) = (false, false);
    for fences in [true, false] {
        less.fences = fences;
        suite(async || Fixture::new(Arc::new(fake(less)), images())).await;
    }
}
