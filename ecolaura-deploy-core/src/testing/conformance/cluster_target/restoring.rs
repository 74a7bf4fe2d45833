//! Cases of going back.

use super::{
    super::runner,
    bench::{App, Bench, SIDE, WEB, fails, service},
};
use crate::{
    ErrorKind, Result,
    backend::{ClusterSnapshot, RolloutState},
};

pub(super) const CASES: &[(&str, runner::Case<Bench>)] = runner::cases![
    the_former_is_restored,
    replicas_are_restored,
    restoring_after_a_failure_serves,
    restoring_to_nothing_removes,
    restoring_leaves_others_alone,
    a_revision_that_is_not_kept_is_named,
];

async fn the_former_is_restored(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let snapshot = bench.snapshot("web").await?;
    bench.roll_out(&WEB, &bench.images.second).await?;
    // Through a record, as another process would get it.
    let stored = serde_json::to_string(&snapshot).unwrap_or_default();
    let snapshot: ClusterSnapshot = serde_json::from_str(&stored).unwrap_or(snapshot);
    bench.restore(&snapshot).await?;
    bench.answers("web", "v1").await?;
    let pods = bench.status().await?.pods;
    bench.restore(&snapshot).await?;
    assert_eq!(bench.status().await?.pods, pods, "restoring again restarts nothing");
    bench.is_idle(&WEB, &bench.images.first).await?;
    Ok(())
}

async fn replicas_are_restored(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let snapshot = bench.snapshot("web").await?;
    bench.roll_out(&App { replicas: 2, ..WEB }, &bench.images.first).await?;
    bench.restore(&snapshot).await?;
    assert_eq!(bench.status().await?.pods.len(), 1);
    bench.is_idle(&WEB, &bench.images.first).await?;
    Ok(())
}

async fn restoring_after_a_failure_serves(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let snapshot = bench.snapshot("web").await?;
    let applied = bench.apply(&WEB, &bench.images.crashing).await?;
    let state = bench.wait(&applied).await?;
    assert!(matches!(state, RolloutState::Failed { .. }), "{state:?}");
    bench.restore(&snapshot).await?;
    bench.answers("web", "v1").await?;
    let pods = bench.status().await?.pods;
    assert!(pods.len() == 1 && pods[0].ready, "{pods:?}");
    bench.is_idle(&WEB, &bench.images.first).await?;
    Ok(())
}

async fn restoring_to_nothing_removes(bench: &Bench) -> Result<()> {
    let nothing = bench.snapshot("web").await?;
    bench.roll_out(&WEB, &bench.images.first).await?;
    for _ in 0..2 {
        bench.restore(&nothing).await?;
    }
    let status = bench.status().await?;
    assert!(status.pods.is_empty() && status.addresses.is_empty(), "{status:?}");
    bench.roll_out(&WEB, &bench.images.second).await?;
    bench.answers("web", "v2").await
}

async fn restoring_leaves_others_alone(bench: &Bench) -> Result<()> {
    let nothing = bench.snapshot("web").await?;
    bench.roll_out(&WEB, &bench.images.first).await?;
    let side = bench.roll_out(&SIDE, &bench.images.second).await?;
    bench.restore(&nothing).await?;
    bench.ready(side).await?;
    assert!(bench.status().await?.pods.iter().all(|pod| pod.service.as_str() == "side"));
    bench.answers("side", "v2").await
}

async fn a_revision_that_is_not_kept_is_named(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let mut snapshot = bench.snapshot("web").await?;
    snapshot.revisions.insert(service("web")?, Some(4711));
    let error = fails(ErrorKind::NotFound, bench.restore(&snapshot).await);
    assert!(error.report().contains("4711") && error.report().contains("web"), "{}", error.report());
    bench.answers("web", "v1").await
}
