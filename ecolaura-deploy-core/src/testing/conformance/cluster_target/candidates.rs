//! Cases of versions side by side.

use super::{
    super::runner,
    bench::{App, Bench, WEB, fails, service},
};
use crate::{
    ErrorKind, Result,
    backend::{RolloutState, Track, Traffic},
};

pub(super) const CASES: &[(&str, runner::Case<Bench>)] = runner::cases![
    a_candidate_stands_beside_without_requests,
    a_candidate_applied_twice_is_one,
    all_requests_go_to_the_other_colour_and_back,
    a_promoted_candidate_is_the_stable_one,
    a_discarded_candidate_is_gone,
    a_failing_candidate_takes_no_requests,
    a_candidate_that_is_not_there_is_named,
    restoring_ends_a_candidate,
];

pub(super) const WEIGHTED: &[(&str, runner::Case<Bench>)] = runner::cases![a_candidate_gets_its_share,];

async fn a_candidate_stands_beside_without_requests(bench: &Bench) -> Result<()> {
    let stable = bench.roll_out(&App { replicas: 2, ..WEB }, &bench.images.first).await?;
    let candidate = bench.candidate(&App { replicas: 2, ..WEB }, &bench.images.second).await?;
    assert_eq!(candidate.track, Track::Candidate);
    assert!(candidate.revisions > stable.revisions);
    assert_eq!(candidate.addresses, stable.addresses, "it is reached by the same Services");
    let status = bench.status().await?;
    let tracks = |track| status.pods.iter().filter(|pod| pod.track == track).count();
    assert_eq!((tracks(Track::Stable), tracks(Track::Candidate)), (2, 1), "{status:?}");
    let name = service("web")?;
    let stable_revision = stable.revisions.get(&name).copied();
    assert_eq!(status.snapshot.revisions.get(&name).copied(), Some(stable_revision), "the stable one is restored");
    bench.ready(stable).await?;
    bench.answers("web", "v1").await
}

async fn a_candidate_applied_twice_is_one(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let candidate = bench.candidate(&WEB, &bench.images.second).await?;
    let pods = bench.status().await?.pods;
    assert_eq!(bench.beside(&WEB, &bench.images.second).await?, candidate);
    assert_eq!(bench.status().await?.pods, pods);
    Ok(())
}

async fn all_requests_go_to_the_other_colour_and_back(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let candidate = bench.candidate(&WEB, &bench.images.second).await?;
    for (percent, version) in [(100, "v2"), (100, "v2"), (0, "v1")] {
        bench.shift(&candidate, Traffic::Candidate { percent }).await?;
        bench.answers("web", version).await?;
    }
    Ok(())
}

async fn a_candidate_gets_its_share(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let candidate = bench.candidate(&WEB, &bench.images.second).await?;
    for (percent, range) in [(10, 1..=60), (50, 60..=140)] {
        bench.shift(&candidate, Traffic::Candidate { percent }).await?;
        if let Some(answers) = bench.asked("web", 200).await? {
            let count = answers.iter().filter(|answer| *answer == "v2").count();
            assert!(range.contains(&count), "at {percent} %, {count} of 200 requests went to the candidate");
        }
    }
    fails(ErrorKind::InvalidInput, bench.shift(&candidate, Traffic::Candidate { percent: 101 }).await);
    Ok(())
}

async fn a_promoted_candidate_is_the_stable_one(bench: &Bench) -> Result<()> {
    let app = App { replicas: 2, ..WEB };
    bench.roll_out(&app, &bench.images.first).await?;
    let mut candidate = bench.candidate(&app, &bench.images.second).await?;
    for _ in 0..2 {
        bench.shift(&candidate, Traffic::Promote).await?;
    }
    candidate.track = Track::Stable;
    let stable = bench.ready(candidate).await?;
    let status = bench.status().await?;
    assert_eq!(status.pods.len(), 2, "the former ones have ended: {status:?}");
    for pod in &status.pods {
        assert_eq!((pod.track, stable.revisions.get(&pod.service)), (Track::Stable, Some(&pod.revision)));
    }
    bench.is_idle(&app, &bench.images.second).await?;
    bench.answers("web", "v2").await
}

async fn a_discarded_candidate_is_gone(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let candidate = bench.candidate(&WEB, &bench.images.second).await?;
    bench.shift(&candidate, Traffic::Candidate { percent: 100 }).await?;
    for _ in 0..2 {
        bench.shift(&candidate, Traffic::Discard).await?;
    }
    bench.answers("web", "v1").await?;
    bench.is_idle(&WEB, &bench.images.first).await?;
    fails(ErrorKind::NotFound, bench.shift(&candidate, Traffic::Candidate { percent: 0 }).await);
    Ok(())
}

async fn a_failing_candidate_takes_no_requests(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let candidate = bench.beside(&WEB, &bench.images.crashing).await?;
    let state = bench.wait(&candidate).await?;
    assert!(matches!(state, RolloutState::Failed { .. }), "{state:?}");
    bench.answers("web", "v1").await?;
    bench.shift(&candidate, Traffic::Discard).await?;
    bench.answers("web", "v1").await
}

async fn a_candidate_that_is_not_there_is_named(bench: &Bench) -> Result<()> {
    let stable = bench.roll_out(&WEB, &bench.images.first).await?;
    let error = fails(ErrorKind::NotFound, bench.shift(&stable, Traffic::Candidate { percent: 10 }).await);
    assert!(error.report().contains("web"), "{}", error.report());
    Ok(())
}

async fn restoring_ends_a_candidate(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let snapshot = bench.snapshot("web").await?;
    let candidate = bench.candidate(&WEB, &bench.images.second).await?;
    bench.shift(&candidate, Traffic::Candidate { percent: 100 }).await?;
    bench.restore(&snapshot).await?;
    bench.answers("web", "v1").await?;
    let pods = bench.status().await?.pods;
    assert!(pods.iter().all(|pod| pod.track == Track::Stable), "{pods:?}");
    let candidate = bench.candidate(&WEB, &bench.images.second).await?;
    bench.shift(&candidate, Traffic::Promote).await?;
    bench.restore(&snapshot).await?;
    bench.answers("web", "v1").await
}
