use ecolaura_deploy_core::{
    ErrorKind,
    backend::{ImageBuilder as _, Registry as _},
    oci::OciRegistry,
    run::RunResult,
    testing::servers::{named, unique},
};

use super::bench::{Bench, cx, prune};

/// A step of this run alone, which says so when it runs.
fn file(nonce: &str) -> String {
    format!("RUN busybox echo it runs {nonce} && busybox touch /made-{nonce}\n")
}

#[tokio::test]
async fn an_engine_that_forgot_all_takes_steps_over_from_an_image() {
    let nonce = unique("cache");
    let (Some(bench), Some(address)) = (Bench::with_shell(&file(&nonce)), named("ECOLAURA_TEST_REGISTRY")) else {
        return;
    };
    let ran = format!("\"it runs {nonce}\"");
    let builder = bench.builder().cache_inline();
    let image = bench.build(&builder).await.unwrap();
    let registry = OciRegistry::new("registry".parse().unwrap(), &address).unwrap();
    let repository = nonce.parse().unwrap();
    let pinned = registry.push(&cx(), &image, &repository).await.unwrap();

    prune(&bench, &nonce);
    let (again, said) = bench.run(builder.clone()).await;
    assert_eq!(again.result, RunResult::Succeeded, "{said}");
    assert!(said.contains(&ran), "the engine forgot it: {said}");

    prune(&bench, &nonce);
    let cached = builder.cache_from(format!("{address}/{}@{}", pinned.repository, pinned.digest));
    let (taken, said) = bench.run(cached).await;
    assert_eq!(taken.result, RunResult::Succeeded, "{said}");
    assert!(!said.contains(&ran), "{said}");
    assert!(said.contains("[4/4] RUN") && said.contains(": as before"), "{said}");
}

#[tokio::test]
async fn a_cache_that_is_no_image_is_refused_before_anything_is_built() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY Dockerfile /\n") else { return };
    let builder = bench.builder().cache_from("type=gha,scope=main");
    let error = builder.fingerprint(&cx(), &bench.spec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("cache_from: `type=gha,scope=main`: expected the name of an image"), "{error}");
}
