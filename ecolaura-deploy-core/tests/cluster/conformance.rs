//! The suite of all cluster targets.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ecolaura_deploy_core::{
    Error, ErrorKind,
    local::cluster::ProcessCluster,
    testing::conformance::cluster_target::{self, Fixture},
};

use crate::bench::{Bench, Images, get, name, runtime};

/// The images that the suite wants.
async fn images(images: &Images) -> cluster_target::Images {
    cluster_target::Images {
        first: images.image("serve v1").await.unwrap(),
        second: images.image("serve v2").await.unwrap(),
        crashing: images.image("crash").await.unwrap(),
        never_ready: images.image("silent").await.unwrap(),
    }
}

async fn ask(url: String) -> Result<String, Error> {
    let asked = tokio::task::spawn_blocking(move || get(&url)).await.unwrap();
    asked.map_err(|error| Error::new(ErrorKind::Unavailable, "test.ask", error))
}

pub(crate) fn in_process() {
    let shared = tempfile::tempdir().unwrap();
    let number = AtomicUsize::new(0);
    runtime().block_on(cluster_target::suite(|| async {
        let built = Images::new(shared.path());
        let images = images(&built).await;
        let dir = fresh(shared.path(), &number);
        let cluster = ProcessCluster::in_process(dir, built.registry, name("local")).unwrap();
        Fixture::new(Arc::new(cluster), images).ask(ask)
    }));
}

fn fresh(dir: &Path, number: &AtomicUsize) -> std::path::PathBuf {
    dir.join(format!("cluster-{}", number.fetch_add(1, Ordering::Relaxed)))
}

pub(crate) fn with_agent() {
    runtime().block_on(cluster_target::suite(|| async {
        let bench = Bench::new();
        let images = images(&bench.images).await;
        Fixture::new(Arc::new(bench.cluster()), images).ask(ask).guard(bench)
    }));
}
