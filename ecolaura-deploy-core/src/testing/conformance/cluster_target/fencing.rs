//! Cases of deployers that were taken over.

use super::{
    super::{
        fencing::{Deployers, refused},
        runner,
    },
    bench::{Bench, WEB},
};
use crate::{
    Context, Result,
    backend::{AppliedWorkload, Placement, RolloutState, Traffic, TrafficRequest},
    vocabulary::PinnedImage,
};

pub(super) const CASES: &[(&str, runner::Case<Bench>)] = runner::cases![an_older_epoch_changes_nothing];
pub(super) const CANDIDATES: &[(&str, runner::Case<Bench>)] = runner::cases![an_older_epoch_moves_no_request];

async fn apply(bench: &Bench, cx: &Context, image: &PinnedImage, placement: Placement) -> Result<AppliedWorkload> {
    bench.cluster.apply(cx, &bench.request(&WEB, image, placement)?).await
}

async fn an_older_epoch_changes_nothing(bench: &Bench) -> Result<()> {
    let Deployers { older, epoch, newer, outside, elsewhere } = Deployers::new(&bench.cx);
    let (first, second) = (&bench.images.first, &bench.images.second);
    let nothing = bench.snapshot("web").await?;
    let applied = bench.ready(apply(bench, &epoch, first, Placement::Replace).await?).await?;
    let before = bench.status().await?;
    for image in [first, second] {
        refused(apply(bench, &older, image, Placement::Replace).await, &older, &epoch);
    }
    refused(bench.cluster.restore(&older, &nothing).await, &older, &epoch);
    let after = bench.status().await?;
    assert_eq!((after.snapshot, after.pods), (before.snapshot, before.pods));
    assert_eq!(bench.cluster.wait_until_ready(&older, &applied).await?, RolloutState::Ready, "waiting changes nothing");
    apply(bench, &outside, second, Placement::Replace).await?;
    refused(apply(bench, &older, first, Placement::Replace).await, &older, &epoch);
    apply(bench, &newer, second, Placement::Replace).await?;
    refused(apply(bench, &epoch, first, Placement::Replace).await, &epoch, &newer);
    bench.cluster.restore(&elsewhere, &bench.snapshot("web").await?).await?;
    bench.cluster.restore(&newer, &nothing).await?;
    refused(apply(bench, &epoch, first, Placement::Replace).await, &epoch, &newer);
    assert!(bench.status().await?.pods.is_empty(), "what it was taken from remembers still");
    Ok(())
}

async fn an_older_epoch_moves_no_request(bench: &Bench) -> Result<()> {
    let Deployers { older, epoch, newer, outside, .. } = Deployers::new(&bench.cx);
    bench.roll_out(&WEB, &bench.images.first).await?;
    let beside = Placement::Beside { replicas: Some(1) };
    let candidate = bench.ready(apply(bench, &epoch, &bench.images.second, beside).await?).await?;
    let shift =
        async |cx: &Context, traffic| bench.cluster.shift(cx, &TrafficRequest::new(candidate.clone(), traffic)).await;
    for traffic in [Traffic::Candidate { percent: 100 }, Traffic::Promote, Traffic::Discard] {
        refused(shift(&older, traffic).await, &older, &epoch);
        bench.answers("web", "v1").await?;
    }
    shift(&outside, Traffic::Candidate { percent: 100 }).await?;
    shift(&epoch, Traffic::Promote).await?;
    shift(&newer, Traffic::Promote).await?;
    refused(shift(&epoch, Traffic::Promote).await, &epoch, &newer);
    bench.answers("web", "v2").await
}
