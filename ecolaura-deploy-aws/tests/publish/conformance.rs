//! The suite of `CdnPublisher`.

use std::sync::Arc;

use ecolaura_deploy_core::testing::conformance::cdn_publisher::{Fixture, suite};

use super::support::{cdn, endpoints};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_conforms_on_each_server() {
    for endpoint in endpoints() {
        suite(async || Fixture::new(Arc::new(cdn(&endpoint).await), ())).await;
    }
}
