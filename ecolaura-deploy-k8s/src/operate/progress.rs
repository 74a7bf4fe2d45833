//! How far a roll-out is, in the words of `kubectl rollout status` or better.

use ecolaura_deploy_core::{
    Context, Result,
    backend::RolloutState,
    vocabulary::{Name, ServiceName},
};
use kube::core::DynamicObject;
use serde_json::Value;

use super::Workload;
use crate::{
    names::PART,
    target::{Inner, json_of},
    watch::{self, Awaited},
};

const OPERATION: &str = "cluster.progress";

pub(super) async fn line(inner: &Inner, cx: &Context, namespace: &Name, service: &ServiceName) -> Result<String> {
    cx.check(OPERATION)?;
    let server = inner.server(cx, &[]);
    let workload = Workload::find(&server, namespace, service, OPERATION).await?;
    let awaited = awaited(&workload)?;
    let state = watch::look_once(&server, namespace.as_str(), &awaited, inner.judging).await?;
    Ok(format!("{}: {}", workload.key, told(&state, &workload.live)))
}

pub(super) async fn follow(
    inner: &Inner,
    cx: &Context,
    namespace: &Name,
    service: &ServiceName,
) -> Result<RolloutState> {
    cx.check(OPERATION)?;
    let server = inner.server(cx, &[]);
    let workload = Workload::find(&server, namespace, service, OPERATION).await?;
    let awaited = [awaited(&workload)?];
    let state = watch::until_ready(&server, namespace.as_str(), &awaited, inner.judging).await?;
    let live = server.get(&workload.kind, &workload.key).await?.unwrap_or(workload.live);
    cx.status(format!("{}: {}", workload.key, told(&state, &live)));
    Ok(state)
}

/// Only what this crate rolled out is watched.
fn awaited(workload: &Workload) -> Result<Awaited> {
    if workload.live.metadata.labels.as_ref().is_none_or(|labels| !labels.contains_key(PART)) {
        let why = "others rolled it out, and what is not ours is not watched";
        return Err(workload.unsupported(OPERATION, why, "roll it out here once, or use `kubectl rollout status`"));
    }
    let metadata = &workload.live.metadata;
    Ok(Awaited {
        key: workload.key.clone(),
        uid: metadata.uid.clone(),
        generation: metadata.generation,
        revision: watch::revision(&json_of(&workload.live)).filter(|_| workload.is("Deployment")),
    })
}

fn told(state: &RolloutState, live: &DynamicObject) -> String {
    match state {
        RolloutState::Ready => done(live),
        RolloutState::Progressing { message } => message.clone(),
        RolloutState::Failed { cause, chain } => format!("failed, {cause}: {}", chain.join(": ")),
        _ => "cannot be told".to_owned(),
    }
}

/// `rolled out: 3 available replicas of revision 4`
fn done(live: &DynamicObject) -> String {
    let number = |pointer: &str| live.data.pointer(pointer).and_then(Value::as_u64);
    let status = |field: &str| number(&format!("/status/{field}")).unwrap_or_default();
    if let Some(nodes) = number("/status/desiredNumberScheduled") {
        return format!("rolled out: {}, one for each node", counted(nodes, "pod"));
    }
    let partition = number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or_default();
    if partition > 0 {
        let (updated, all) = (status("updatedReplicas"), status("replicas"));
        return format!("rolled out as far as its partition lets it: {updated} of {all} replicas have been updated");
    }
    let revision = watch::revision(&json_of(live)).map(|revision| format!(" of revision {revision}"));
    format!("rolled out: {}{}", counted(status("availableReplicas"), "replica"), revision.unwrap_or_default())
}

/// `3 available pods`
fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 available {noun}") } else { format!("{count} available {noun}s") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_done_is_told_by_kind() {
        let done = |json: Value| done(&serde_json::from_value(json).unwrap());
        let deployment = json!({"metadata": {}, "status": {"availableReplicas": 3},
            "spec": {"template": {"metadata": {"annotations": {"deploy.ecolaura.io/revision": "4"}}}}});
        assert_eq!(done(deployment), "rolled out: 3 available replicas of revision 4");
        let set = json!({"metadata": {}, "spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
            "status": {"replicas": 3, "updatedReplicas": 1}});
        assert_eq!(done(set), "rolled out as far as its partition lets it: 1 of 3 replicas have been updated");
        let set = json!({"metadata": {}, "status": {"replicas": 1, "availableReplicas": 1}});
        assert_eq!(done(set), "rolled out: 1 available replica");
        let daemons = json!({"metadata": {}, "status": {"desiredNumberScheduled": 2}});
        assert_eq!(done(daemons), "rolled out: 2 available pods, one for each node");
    }
}
