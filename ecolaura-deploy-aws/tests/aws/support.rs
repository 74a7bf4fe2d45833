//! The account that moto plays, and runs in it.

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_aws::{Account, Connect};
use ecolaura_deploy_core::{
    Context, Secret,
    pipeline::Pipeline,
    run::{RunResult, Runner},
    store::ObjectRunStore,
    testing::servers::named,
};

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-central-1";

/// The address of moto, if there is one.
pub(crate) fn endpoint() -> Option<String> {
    named("ECOLAURA_TEST_AWS")
}

pub(crate) fn cx() -> Context {
    Context::new("test".parse().unwrap()).with_deadline_in(Duration::from_mins(2))
}

/// The account, if there is a moto.
pub(crate) async fn account() -> Option<Account> {
    let connect = Connect::new().region(REGION).endpoint(endpoint()?);
    Some(connect.keys("AKIATEST", Secret::new("a-key-for-moto".to_owned())).connect(&cx()).await.unwrap())
}

/// Runs what `make` puts into a pipeline.
pub(crate) async fn run(make: impl FnOnce(&mut Pipeline)) -> RunResult {
    let mut pipeline = Pipeline::new("shop".parse().unwrap(), "test".parse().unwrap());
    make(&mut pipeline);
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx(), pipeline).await.unwrap();
    runner.run(&cx(), plan).await.unwrap().result
}
