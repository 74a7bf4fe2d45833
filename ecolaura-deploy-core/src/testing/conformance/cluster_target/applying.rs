//! Cases of planning and applying in place.

use futures_util::future::join;

use super::{
    super::runner,
    bench::{App, Bench, SIDE, WEB, service, text},
};
use crate::{
    Result,
    backend::{ApplyRequest, FailureCause, Placement, RolloutState, Track, Workload},
    plan::Action,
};

pub(super) const CASES: &[(&str, runner::Case<Bench>)] = runner::cases![
    planning_touches_nothing,
    a_workload_becomes_ready_and_answers,
    an_unchanged_workload_changes_nothing,
    an_update_rolls_while_requests_are_answered,
    a_change_is_planned_field_by_field,
    other_replicas_are_not_another_revision,
    configuration_makes_another_revision,
    services_apart_are_left_alone,
    a_whole_folder_is_one_workload,
    of_two_appliers_one_wins,
    what_was_replaced_is_superseded,
    every_pod_is_in_the_status,
    logs_begin_with_their_pods,
];

async fn planning_touches_nothing(bench: &Bench) -> Result<()> {
    let before = bench.status().await?;
    let plan = bench.plan(&WEB, &bench.images.first).await?;
    assert!(plan.changes.iter().any(|change| change.object.contains("web")), "{plan:?}");
    assert!(plan.changes.iter().all(|change| change.action == Action::Create), "{plan:?}");
    assert_eq!(plan.services, [service("web")?]);
    assert_eq!(bench.status().await?, before);
    Ok(())
}

async fn a_workload_becomes_ready_and_answers(bench: &Bench) -> Result<()> {
    let app = App { replicas: 2, ..WEB };
    let applied = bench.roll_out(&app, &bench.images.first).await?;
    assert_eq!((applied.services.as_slice(), applied.track), ([service("web")?].as_slice(), Track::Stable));
    assert_eq!(applied.namespace, bench.namespace);
    let status = bench.status().await?;
    assert_eq!(status.pods.iter().filter(|pod| pod.ready).count(), 2, "{status:?}");
    assert_eq!(applied.addresses, status.addresses);
    bench.answers("web", "v1").await
}

async fn an_unchanged_workload_changes_nothing(bench: &Bench) -> Result<()> {
    let first = bench.roll_out(&WEB, &bench.images.first).await?;
    let pods = bench.status().await?.pods;
    let plan = bench.plan(&WEB, &bench.images.first).await?;
    assert!(plan.changes.iter().all(|change| change.action == Action::NoOp), "{plan:?}");
    assert_eq!(bench.apply(&WEB, &bench.images.first).await?, first);
    bench.ready(first).await?;
    assert_eq!(bench.status().await?.pods, pods, "nothing was restarted");
    Ok(())
}

async fn an_update_rolls_while_requests_are_answered(bench: &Bench) -> Result<()> {
    let app = App { replicas: 2, ..WEB };
    let first = bench.roll_out(&app, &bench.images.first).await?;
    let second = bench.apply(&app, &bench.images.second).await?;
    assert!(second.revisions > first.revisions, "{second:?} after {first:?}");
    assert_ne!(second.digest, first.digest);
    let steady = async {
        loop {
            let answers = bench.asked("web", 10).await?.unwrap_or_default();
            assert!(answers.iter().all(|answer| answer == "v1" || answer == "v2"), "{answers:?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        failed = steady => return failed,
        ready = bench.ready(second.clone()) => ready?,
    };
    let status = bench.status().await?;
    let revision = second.revisions.values().next().copied();
    assert!(status.pods.iter().all(|pod| Some(pod.revision) == revision), "{status:?}");
    bench.answers("web", "v2").await
}

async fn a_change_is_planned_field_by_field(bench: &Bench) -> Result<()> {
    bench.roll_out(&WEB, &bench.images.first).await?;
    let before = bench.plan(&WEB, &bench.images.first).await?.found;
    let app = App { replicas: 2, greeting: "welcome", ..WEB };
    let plan = bench.plan(&app, &bench.images.second).await?;
    let shown = text(&plan);
    for expected in [
        bench.images.first.digest.to_string(),
        bench.images.second.digest.to_string(),
        "replicas".to_owned(),
        "hello".to_owned(),
        "welcome".to_owned(),
    ] {
        assert!(shown.contains(&expected), "`{expected}` is not in {shown}");
    }
    assert_eq!(plan.found, before);
    bench.roll_out(&app, &bench.images.second).await?;
    assert_ne!(bench.plan(&app, &bench.images.second).await?.found, before, "a plan made before is now stale");
    Ok(())
}

async fn other_replicas_are_not_another_revision(bench: &Bench) -> Result<()> {
    let first = bench.roll_out(&WEB, &bench.images.first).await?;
    let pod = bench.status().await?.pods.remove(0);
    let more = bench.roll_out(&App { replicas: 3, ..WEB }, &bench.images.first).await?;
    assert_eq!(more.revisions, first.revisions);
    let pods = bench.status().await?.pods;
    assert_eq!(pods.len(), 3, "{pods:?}");
    assert!(pods.iter().any(|other| other.name == pod.name && other.pid == pod.pid), "{pod:?} is not in {pods:?}");
    bench.roll_out(&WEB, &bench.images.first).await?;
    bench.is_idle(&WEB, &bench.images.first).await?;
    Ok(())
}

async fn configuration_makes_another_revision(bench: &Bench) -> Result<()> {
    let first = bench.roll_out(&WEB, &bench.images.first).await?;
    let workload = bench.workload(&WEB, &bench.images.first)?.config("web-config/greeting", "replaced");
    let request = ApplyRequest::new(workload, Placement::Replace);
    let second = bench.cluster.apply(&bench.cx, &request).await?;
    assert!(second.revisions > first.revisions);
    bench.ready(second).await?;
    let plan = bench.cluster.plan(&bench.cx, &request).await?;
    assert!(plan.changes.iter().all(|change| change.action == Action::NoOp), "{plan:?}");
    Ok(())
}

async fn services_apart_are_left_alone(bench: &Bench) -> Result<()> {
    let side = bench.roll_out(&SIDE, &bench.images.second).await?;
    bench.roll_out(&WEB, &bench.images.first).await?;
    bench.is_idle(&SIDE, &bench.images.second).await?;
    bench.ready(side).await?;
    bench.answers("side", "v2").await?;
    bench.answers("web", "v1").await
}

async fn a_whole_folder_is_one_workload(bench: &Bench) -> Result<()> {
    bench.write(&bench.yaml(&WEB))?;
    bench.write(&bench.yaml(&SIDE))?;
    let workload = Workload::new(bench.namespace.clone(), [bench.files.path()])
        .image("conformance/web", bench.images.first.clone())
        .image("conformance/side", bench.images.second.clone());
    let applied = bench.cluster.apply(&bench.cx, &ApplyRequest::new(workload, Placement::Replace)).await?;
    assert_eq!(applied.services, [service("side")?, service("web")?]);
    bench.ready(applied).await?;
    bench.answers("web", "v1").await?;
    bench.answers("side", "v2").await
}

async fn of_two_appliers_one_wins(bench: &Bench) -> Result<()> {
    let (one, other) = join(bench.apply(&WEB, &bench.images.first), bench.apply(&WEB, &bench.images.second)).await;
    let (one, other) = (one?, other?);
    assert_ne!(one.revisions, other.revisions);
    let (winner, loser, version) =
        if one.revisions > other.revisions { (one, other, "v1") } else { (other, one, "v2") };
    bench.ready(winner).await?;
    superseded(&bench.wait(&loser).await?);
    bench.answers("web", version).await
}

async fn what_was_replaced_is_superseded(bench: &Bench) -> Result<()> {
    let first = bench.roll_out(&WEB, &bench.images.first).await?;
    bench.roll_out(&WEB, &bench.images.second).await?;
    superseded(&bench.wait(&first).await?);
    Ok(())
}

fn superseded(state: &RolloutState) {
    assert!(matches!(state, RolloutState::Failed { cause: FailureCause::Superseded, .. }), "{state:?}");
}

async fn every_pod_is_in_the_status(bench: &Bench) -> Result<()> {
    let app = App { replicas: 2, ..WEB };
    let applied = bench.roll_out(&app, &bench.images.first).await?;
    let status = bench.status().await?;
    assert_eq!(status.pods.len(), 2, "{status:?}");
    assert_ne!(status.pods[0].name, status.pods[1].name);
    for pod in &status.pods {
        assert_eq!((&pod.service, pod.track, pod.restarts), (&service("web")?, Track::Stable, 0));
        assert_eq!(applied.revisions.get(&pod.service), Some(&pod.revision));
    }
    let snapshot = status.snapshot.revisions.into_iter().filter_map(|(name, revision)| Some((name, revision?)));
    assert_eq!(snapshot.collect::<std::collections::BTreeMap<_, _>>(), applied.revisions);
    let elsewhere = bench.cluster.status(&bench.cx, &"elsewhere".parse()?).await?;
    assert!(elsewhere.pods.is_empty() && elsewhere.snapshot.revisions.is_empty(), "{elsewhere:?}");
    Ok(())
}

async fn logs_begin_with_their_pods(bench: &Bench) -> Result<()> {
    bench.roll_out(&App { replicas: 2, ..WEB }, &bench.images.first).await?;
    let pods = bench.status().await?.pods;
    let name = service("web")?;
    let log = bench.cluster.logs(&bench.cx, &bench.namespace, &name, 100).await?;
    assert!(log.len() >= 2, "each pod printed a line: {log:?}");
    for line in &log {
        assert!(pods.iter().any(|pod| line.starts_with(&pod.name)), "no pod is named at the start of `{line}`");
    }
    assert_eq!(bench.cluster.logs(&bench.cx, &bench.namespace, &name, 1).await?.len(), 1);
    Ok(())
}
