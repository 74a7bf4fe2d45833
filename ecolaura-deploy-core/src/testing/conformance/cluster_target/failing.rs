//! Cases of what goes wrong.

use std::time::Duration;

use super::{
    super::runner,
    bench::{App, Bench, SIDE, WEB, fails},
};
use crate::{
    ErrorKind, Result,
    backend::{ApplyRequest, FailureCause, Placement, RolloutState, Workload},
    vocabulary::{Digest, PinnedImage},
};

pub(super) const CASES: &[(&str, runner::Case<Bench>)] = runner::cases![
    bad_manifests_are_named_all_at_once,
    a_crash_loop_is_named_and_the_former_serves,
    a_failing_probe_is_named_and_the_former_serves,
    a_missing_image_is_named,
    a_deadline_is_an_answer,
    a_cancelled_call_does_nothing,
];

/// Checks that it failed by `cause` and that somebody who reads the chain knows which service it is about.
fn failed(state: RolloutState, cause: FailureCause) {
    match state {
        RolloutState::Failed { cause: found, chain } => {
            assert_eq!(found, cause, "{chain:?}");
            assert!(chain.iter().any(|line| line.contains("web")), "{chain:?}");
        }
        other => panic!("expected {cause}, found {other:?}"),
    }
}

async fn bad_manifests_are_named_all_at_once(bench: &Bench) -> Result<()> {
    let wrong = |app: &App, from: &str, to: &str| {
        let yaml = bench.yaml(app);
        assert!(yaml.contains(from), "{from}");
        bench.write(&yaml.replacen(from, to, 1))
    };
    let type_error = wrong(&WEB, "containerPort: 8080", "containerPort: http")?;
    let unknown_field = wrong(&SIDE, "replicas: 1", "replica: 1")?;
    let workload = Workload::new(bench.namespace.clone(), [&type_error, &unknown_field])
        .image("conformance/web", bench.images.first.clone())
        .image("conformance/side", bench.images.first.clone());
    let request = ApplyRequest::new(workload, Placement::Replace);
    for error in [
        fails(ErrorKind::InvalidInput, bench.cluster.plan(&bench.cx, &request).await),
        fails(ErrorKind::InvalidInput, bench.cluster.apply(&bench.cx, &request).await),
    ] {
        let report = error.report();
        for path in [&type_error, &unknown_field] {
            assert!(report.contains(&path.display().to_string()), "{} is not in {report}", path.display());
        }
        assert!(report.contains("containerPort") && report.contains("spec.replica"), "{report}");
    }
    assert!(bench.status().await?.pods.is_empty());
    Ok(())
}

async fn a_crash_loop_is_named_and_the_former_serves(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let applied = bench.apply(&WEB, &bench.images.crashing).await?;
    failed(bench.wait(&applied).await?, FailureCause::CrashLoop);
    bench.answers("web", "v1").await?;
    bench.roll_out(&WEB, &bench.images.second).await?;
    bench.answers("web", "v2").await
}

async fn a_failing_probe_is_named_and_the_former_serves(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let applied = bench.apply(&App { patience: 3, ..WEB }, &bench.images.never_ready).await?;
    failed(bench.wait(&applied).await?, FailureCause::ReadinessProbe);
    bench.answers("web", "v1").await?;
    bench.roll_out(&WEB, &bench.images.first).await?;
    bench.answers("web", "v1").await
}

/// A registry is asked when the workload is applied, or when a pod starts; either is told.
async fn a_missing_image_is_named(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let missing = PinnedImage::new(bench.images.first.repository.clone(), Digest::of("not there"));
    match bench.apply(&WEB, &missing).await {
        Ok(applied) => failed(bench.wait(&applied).await?, FailureCause::ImageMissing),
        Err(error) => {
            let error = fails::<()>(ErrorKind::NotFound, Err(error));
            assert!(error.report().contains(&missing.digest.to_string()), "{}", error.report());
        }
    }
    bench.answers("web", "v1").await
}

async fn a_deadline_is_an_answer(bench: &Bench) -> Result<()> {
    let applied = bench.apply(&WEB, &bench.images.never_ready).await?;
    let cx = bench.cx.clone().with_deadline_in(Duration::from_millis(300));
    failed(bench.cluster.wait_until_ready(&cx, &applied).await?, FailureCause::DeadlineExceeded);
    Ok(())
}

async fn a_cancelled_call_does_nothing(bench: &Bench) -> Result<()> {
    let applied = bench.roll_out(&WEB, &bench.images.first).await?;
    let before = bench.status().await?;
    let cx = bench.cx.clone().with_cancellation(tokio_util::sync::CancellationToken::new());
    cx.cancellation().cancel();
    let request = ApplyRequest::new(bench.workload(&WEB, &bench.images.second)?, Placement::Replace);
    fails(ErrorKind::Cancelled, bench.cluster.apply(&cx, &request).await);
    fails(ErrorKind::Cancelled, bench.cluster.plan(&cx, &request).await);
    fails(ErrorKind::Cancelled, bench.cluster.wait_until_ready(&cx, &applied).await);
    let mut nothing = bench.snapshot("web").await?;
    nothing.revisions.values_mut().for_each(|revision| *revision = None);
    fails(ErrorKind::Cancelled, bench.cluster.restore(&cx, &nothing).await);
    let after = bench.status().await?;
    assert_eq!((after.snapshot, after.pods), (before.snapshot, before.pods));
    Ok(())
}
