//! The suite of all cluster targets, on a real cluster with real pods.

use std::sync::Arc;

use ecolaura_deploy_core::testing::conformance::cluster_target::{self, Fixture};

use crate::support::{ask, image, runtime, servers};

#[test]
fn a_kubernetes_cluster_conforms() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let images = cluster_target::Images {
            first: image(&servers, "serve v1").await,
            second: image(&servers, "serve v2").await,
            crashing: image(&servers, "crash").await,
            never_ready: image(&servers, "silent").await,
        };
        cluster_target::suite(|| async {
            let cluster = servers.cluster().await;
            let namespace = servers.namespace().await;
            let name = namespace.name.clone();
            Fixture::new(Arc::new(cluster), images.clone()).namespace(name).ask(ask).guard(namespace)
        })
        .await;
    });
}
