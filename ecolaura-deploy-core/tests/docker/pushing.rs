use std::sync::Arc;

use ecolaura_deploy_core::{
    backend::Registry as _,
    docker::DockerBuilder,
    oci::OciRegistry,
    pipeline::{Pipeline, constant},
    plan::Action,
    run::{Finished, Runner},
    steps::{BuildImage, PushImage},
    store::ObjectRunStore,
    testing::servers::{named, unique},
    vocabulary::{Digest, PinnedImage, Platform, Repository},
};

use super::bench::{Bench, cx};

struct Release {
    runner: Runner,
    registry: Arc<OciRegistry>,
    repository: Repository,
}

impl Release {
    fn new(address: &str) -> Self {
        Self {
            runner: Runner::new(Arc::new(ObjectRunStore::memory())),
            registry: Arc::new(OciRegistry::new("registry".parse().unwrap(), address).unwrap()),
            repository: format!("{}/image", unique("docker")).parse().unwrap(),
        }
    }

    /// What was planned, how it ended, and the image.
    async fn run(&self, bench: &Bench, builder: DockerBuilder) -> (Vec<Action>, Finished, PinnedImage) {
        let mut pipeline = Pipeline::new("push".parse().unwrap(), "test".parse().unwrap());
        let built = pipeline.add("build", BuildImage::new(Arc::new(builder), "image"), constant(bench.spec()));
        let push = PushImage::new(self.registry.clone(), self.repository.clone()).tag("v1".parse().unwrap());
        let pinned = pipeline.add("push", push, built);
        let plan = self.runner.plan(&cx(), pipeline).await.unwrap();
        let changes = plan.summary().steps.iter().flat_map(|step| &step.changes);
        let actions = changes.map(|change| change.action).collect();
        let finished = self.runner.run(&cx(), plan).await.unwrap();
        let image = finished.output(&pinned).unwrap().clone();
        (actions, finished, image)
    }
}

#[tokio::test]
async fn an_image_is_pushed_by_its_digest_and_an_unchanged_one_is_neither_built_nor_pushed() {
    let (Some(bench), Some(address)) = (Bench::new("FROM scratch\nCOPY a /\n"), named("ECOLAURA_TEST_REGISTRY")) else {
        return;
    };
    bench.put("a", "a");
    let release = Release::new(&address);
    let (actions, first, pinned) = release.run(&bench, bench.builder()).await;
    assert!(first.succeeded() && actions.contains(&Action::Create), "{actions:?}");
    assert!(release.registry.contains(&cx(), &pinned).await.unwrap());
    let manifest = release.registry.manifest(&cx(), &pinned).await.unwrap();
    assert_eq!(Digest::of(manifest), pinned.digest);

    let (actions, second, again) = release.run(&bench, bench.builder()).await;
    assert!(actions.iter().all(|action| *action == Action::NoOp), "{actions:?}");
    assert!(second.succeeded());
    assert_eq!(again, pinned);

    bench.put("a", "b");
    let (actions, _, changed) = release.run(&bench, bench.builder()).await;
    assert!(actions.contains(&Action::Create), "{actions:?}");
    assert_ne!(changed, pinned);
}

#[tokio::test]
async fn an_index_of_several_platforms_is_pushed_as_a_whole() {
    let (Some(bench), Some(address)) = (Bench::new("FROM scratch\nCOPY a /\n"), named("ECOLAURA_TEST_REGISTRY")) else {
        return;
    };
    bench.put("a", "a");
    let release = Release::new(&address);
    let platforms = ["amd64", "arm64", "s390x"].map(|architecture| Platform::new("linux", architecture));
    let (_, finished, pinned) = release.run(&bench, bench.builder().platforms(platforms)).await;
    assert!(finished.succeeded());
    let index = release.registry.manifest(&cx(), &pinned).await.unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let children = index["manifests"].as_array().unwrap();
    assert_eq!(children.len(), 3);
    for child in children {
        let child = PinnedImage::new(pinned.repository.clone(), child["digest"].as_str().unwrap().parse().unwrap());
        assert!(release.registry.contains(&cx(), &child).await.unwrap());
    }
}
