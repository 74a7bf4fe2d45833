//! The account that moto plays, and runs in it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ecolaura_deploy_aws::{Account, Connect};
use ecolaura_deploy_core::{
    Context, Secret,
    pipeline::Pipeline,
    run::{RunResult, Runner},
    store::ObjectRunStore,
};

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "eu-central-1";

/// The address of moto. Without it the test is left out, which is said, or fails where nothing may be left out.
#[expect(clippy::print_stderr, reason = "what is left out is said")]
pub(crate) fn endpoint() -> Option<String> {
    let address = std::env::var("ECOLAURA_TEST_AWS").ok().filter(|address| !address.is_empty());
    if address.is_none() {
        let strict = std::env::var("ECOLAURA_TEST_STRICT").is_ok_and(|value| value == "1");
        assert!(!strict, "no moto: run the tests by .ci/with-servers");
        eprintln!("left out: no moto; .ci/with-servers starts one");
    }
    address
}

pub(crate) fn cx() -> Context {
    Context::new("test".parse().unwrap()).with_deadline_in(Duration::from_mins(2))
}

/// The account, if there is a moto.
pub(crate) async fn account() -> Option<Account> {
    let connect = Connect::new().region(REGION).endpoint(endpoint()?);
    Some(connect.keys("AKIATEST", Secret::new("a-key-for-moto".to_owned())).connect(&cx()).await.unwrap())
}

/// A name that nothing else has.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("{what}-{}-{now}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs what `make` puts into a pipeline.
pub(crate) async fn run(make: impl FnOnce(&mut Pipeline)) -> RunResult {
    let mut pipeline = Pipeline::new("shop".parse().unwrap(), "test".parse().unwrap());
    make(&mut pipeline);
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx(), pipeline).await.unwrap();
    runner.run(&cx(), plan).await.unwrap().result
}
