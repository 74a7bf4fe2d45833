//! Going back to what ran at a moment.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{ClusterSnapshot, FailureCause, RolloutState},
    vocabulary::{Name, ServiceName},
};
use serde_json::{Value, json};

use super::{
    Inner,
    apply::apply_json,
    awaited, deployment_key, deployment_kind,
    live::json_of,
    partly,
    shift::{self, Stand},
};
use crate::{
    belonging::Around,
    edition::{Edition, Editions},
    manifest::set,
    names::PART,
    object::Key,
    operate::apply_unchanged,
    order,
    reconcile::Server,
    watch::{self, Awaited},
};

/// A service and what is to be of it.
enum Goal<'a> {
    Gone,
    Edition(&'a Edition, Option<u64>),
}

pub(crate) async fn restore(inner: &Inner, cx: &Context, snapshot: &ClusterSnapshot) -> Result<()> {
    let namespace = &snapshot.namespace;
    if snapshot.revisions.is_empty() {
        return Ok(());
    }
    let awaited = inner
        .holding(cx, namespace, "cluster.restore", async |_| {
            let server = inner.server(cx, &[]);
            let editions = Editions::read(cx, server.connection, namespace.as_str(), &[]).await?;
            let goals = goals(snapshot, &editions)?;
            go(&server, namespace, &goals, &editions).await.map_err(partly)
        })
        .await?;
    let server = inner.server(cx, &[]);
    ready(&server, namespace, &awaited, inner).await?;
    let services: Vec<&str> = snapshot.revisions.keys().map(ServiceName::as_str).collect();
    inner
        .holding(cx, namespace, "cluster.restore", async |_| {
            shift::end_candidates(inner, &server, namespace, &services).await
        })
        .await
        .map_err(partly)
}

/// What each service goes back to. Fails with `NotFound`, naming all that are not kept any more, before anything is done.
fn goals<'a>(snapshot: &'a ClusterSnapshot, editions: &'a Editions) -> Result<Vec<(&'a ServiceName, Goal<'a>)>> {
    let (mut goals, mut missing) = (Vec::new(), Vec::new());
    for (service, revision) in &snapshot.revisions {
        let Some(revision) = revision else {
            goals.push((service, Goal::Gone));
            continue;
        };
        let kept = snapshot.state.get(service.as_str());
        let number = |key: &str| kept.and_then(|kept| kept.get(key)).and_then(Value::as_u64);
        let exact = number("edition").and_then(|number| editions.get(service.as_str(), number));
        let edition = exact.filter(|edition| edition.revision == *revision);
        match edition.or_else(|| editions.of_revision(service.as_str(), *revision)) {
            Some(edition) => goals.push((service, Goal::Edition(edition, number("replicas")))),
            // Made by others, and never changed here: it is as it was.
            None if *revision == 0 => {}
            None => missing.push(format!("revision {revision} of {service}")),
        }
    }
    if missing.is_empty() {
        return Ok(goals);
    }
    let message = format!("{} in {} is no longer kept", missing.join(", "), snapshot.namespace);
    Err(Error::new(ErrorKind::NotFound, "cluster.restore", message).advice("roll out a release that is kept elsewhere"))
}

async fn go(
    server: &Server<'_>,
    namespace: &Name,
    goals: &[(&ServiceName, Goal<'_>)],
    editions: &Editions,
) -> Result<Vec<Awaited>> {
    let mut awaited = Vec::new();
    for (service, goal) in goals {
        match goal {
            Goal::Gone => remove(server, namespace, service, editions).await?,
            Goal::Edition(edition, replicas) => {
                bring_back(server, namespace, edition, *replicas).await?;
                let revision = Some(edition.revision).filter(|revision| *revision > 0);
                awaited.push(self::awaited(namespace, service.as_str(), revision));
            }
        }
    }
    Ok(awaited)
}

/// Applies everything of an edition but its Services, which follow when its pods are ready.
async fn bring_back(server: &Server<'_>, namespace: &Name, edition: &Edition, replicas: Option<u64>) -> Result<()> {
    let kind = deployment_kind();
    let live = server.get(&kind, &deployment_key(namespace, &edition.service)).await?.map(|live| json_of(&live));
    let mut objects: Vec<Value> = edition.objects.clone();
    objects.sort_by_key(|object| order::stage(&Key::of(object)));
    for mut object in objects {
        let key = Key::of(&object);
        // Requests stay where they are until what they go to is there.
        if key.is("", "Service") && live.is_some() {
            continue;
        }
        if key.is("apps", "Deployment") && key.name == edition.service {
            with_replicas(&mut object, replicas);
        } else if key.is("apps", "Deployment") {
            continue;
        }
        // What others made was not marked when it was found.
        set(&mut object, &["metadata", "labels", PART], json!("workload"));
        if is_same(server, &object).await? {
            continue;
        }
        match &live {
            Some(live) if key.is("apps", "Deployment") => apply_unchanged(server, &object, live).await?,
            _ => _ = apply_json(server, &object).await?,
        }
    }
    Ok(())
}

/// The replicas of the moment, unless an autoscaler has them.
fn with_replicas(deployment: &mut Value, replicas: Option<u64>) {
    let owned = deployment.pointer("/spec/replicas").is_some();
    if let Some(replicas) = replicas.filter(|_| owned) {
        set(deployment, &["spec", "replicas"], json!(replicas));
    }
}

/// Whether the object is there as it should be.
async fn is_same(server: &Server<'_>, object: &Value) -> Result<bool> {
    let key = Key::of(object);
    let Some(kind) = server.kind(&key).await? else { return Ok(false) };
    let live = server.get(&kind, &key).await?;
    Ok(live.is_some_and(|live| {
        live.metadata.deletion_timestamp.is_none() && crate::diff::is_within(object, &json_of(&live))
    }))
}

/// Takes a service away, with whatever belongs to it alone.
async fn remove(server: &Server<'_>, namespace: &Name, service: &ServiceName, editions: &Editions) -> Result<()> {
    let mut keys = BTreeSet::from([
        deployment_key(namespace, service.as_str()),
        deployment_key(namespace, &crate::render::candidate_name(service.as_str())),
    ]);
    for edition in editions.of(service.as_str()) {
        let around = Around::of(&edition.objects);
        for object in &edition.objects {
            let services = around.served_by(object);
            if services.len() == 1 && services.contains(service.as_str()) {
                keys.insert(Key::of(object));
            }
        }
    }
    let mut keys: Vec<Key> = keys.into_iter().collect();
    keys.sort_by_key(|key| (order::stage(key), key.clone()));
    server.delete_all(&keys).await?;
    let gone = watch::pods_gone(server, namespace.as_str(), service.as_str(), None);
    gone.await
}

/// Waits until what was brought back serves.
pub(super) async fn ready(server: &Server<'_>, namespace: &Name, awaited: &[Awaited], inner: &Inner) -> Result<()> {
    match watch::until_ready(server, namespace.as_str(), awaited, inner.judging).await? {
        RolloutState::Failed { cause, chain } => {
            let kind =
                if cause == FailureCause::DeadlineExceeded { ErrorKind::Timeout } else { ErrorKind::RolloutFailed };
            server.cx.evidence(format!("what was brought back does not serve: {cause}"), chain.clone());
            let message = format!("{cause}: {}", chain.join(": "));
            Err(Error::new(kind, "cluster.restore", message)
                .with_effect(Effect::Partial)
                .advice("read the chain; restoring may be tried again"))
        }
        _ => Ok(()),
    }
}

/// How the Services of an edition are while no candidate stands.
pub(super) fn at_rest(edition: &Edition) -> impl Iterator<Item = Stand> {
    edition
        .objects
        .iter()
        .filter(|object| Key::of(object).is("", "Service"))
        .map(|service| Stand { service: service.clone() })
}
