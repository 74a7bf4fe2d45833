//! The run store against real servers that speak S3, which `.ci/with-servers` starts: versitygw, which
//! `ECOLAURA_TEST_S3` names, moto, which `ECOLAURA_TEST_AWS` names, and with `--minio` `MinIO`, which
//! `ECOLAURA_TEST_MINIO` names.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../aws/calls.rs"]
mod calls;
mod conformance;
mod deployers;
mod granted;
#[path = "../publish/servers.rs"]
mod servers;

use ecolaura_deploy_aws::{Account, S3RunStore};

/// A store in a new bucket.
async fn store(account: &Account) -> S3RunStore {
    let bucket = servers::bucket(account).await;
    S3RunStore::open(&servers::cx(), account, bucket, "team/runs").await.unwrap()
}
