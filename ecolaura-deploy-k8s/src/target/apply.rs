//! Applying a workload.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{AppliedWorkload, ApplyRequest, Placement, RolloutState, Track},
    vocabulary::{Digester, Name, ServiceName},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Inner, awaited,
    leaving::{inventory_of, is_version, prune},
    live::json_of,
    namespace::make_namespace,
    partly,
    prepare::{Prepared, prepare},
    salt::salted,
    status,
};
use crate::{
    belonging,
    edition::{self, Edition},
    error::Call,
    inventory,
    lease::Hold,
    manifest::Wanted,
    names::{BASE, MANAGER},
    object::Key,
    order,
    reconcile::{Examined, Server, Trial},
    render::{candidate_name, edition_of},
    traffic::{Toward, toward},
    watch::{self, Awaited},
};

/// How often the numbers of editions are taken anew when another took them first.
const TRIES: usize = 5;

/// What is kept in [`AppliedWorkload::state`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// The workload's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<Name>,
    /// What has to become ready beside the Deployments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Awaited>,
}

impl State {
    pub(super) fn of(applied: &AppliedWorkload) -> Self {
        serde_json::from_value(applied.state.clone()).unwrap_or_default()
    }

    /// Everything that has to become ready.
    pub(super) fn awaited(applied: &AppliedWorkload) -> Vec<Awaited> {
        let deployments = applied.services.iter().map(|service| {
            let revision = applied.revisions.get(service).copied().filter(|revision| *revision > 0);
            awaited(&applied.namespace, &on_track(service, applied.track), revision)
        });
        deployments.chain(Self::of(applied).others).collect()
    }
}

/// The name of the Deployment of `service` on a track.
pub(super) fn on_track(service: &ServiceName, track: Track) -> String {
    match track {
        Track::Candidate => candidate_name(service.as_str()),
        Track::Stable => service.to_string(),
    }
}

pub(super) async fn apply(inner: &Inner, cx: &Context, request: &ApplyRequest) -> Result<AppliedWorkload> {
    let namespace = &request.workload.namespace;
    make_namespace(inner, cx, request).await?;
    inner
        .holding(cx, namespace, "cluster.apply", async |hold| {
            let salt = salted(inner, cx, namespace).await?;
            let server = inner.server(cx, &salt);
            let (prepared, examined) = number(inner, &server, request).await?;
            let mut applied = write(&server, hold, request, &prepared, &examined).await.map_err(partly)?;
            // A candidate is reached by the Services that are there already.
            if applied.track == Track::Candidate {
                applied.addresses = status::addresses(inner, cx, namespace).await?;
                applied.addresses.retain(|service, _| prepared.fronts.contains(service.as_str()));
            }
            Ok(applied)
        })
        .await
}

/// Reads, asks the server, and keeps the editions: the last thing before the first effect on what runs.
async fn number(inner: &Inner, server: &Server<'_>, request: &ApplyRequest) -> Result<(Prepared, Vec<Examined>)> {
    let namespace = request.workload.namespace.as_str();
    for _ in 0..TRIES {
        let mut prepared = prepare(inner, server, request).await?;
        let examined = server.examine(prepared.objects.clone(), Trial::Known(&inner.tried)).await?;
        let is_new = |edition: &&Edition| prepared.editions.get(&edition.service, edition.number).is_none();
        if !keep_all(server, namespace, prepared.made.iter().filter(is_new).cloned().collect()).await? {
            continue;
        }
        keep_all(server, namespace, found_editions(&prepared)).await?;
        prepared.made.iter().for_each(|edition| prepared.editions.add(edition.clone()));
        return Ok((prepared, examined));
    }
    Err(Error::new(ErrorKind::Conflict, "cluster.apply", "others keep taking the next edition").advice("try again"))
}

/// Whether all of `editions` could be kept: a number that another took is not given twice.
async fn keep_all(server: &Server<'_>, namespace: &str, editions: Vec<Edition>) -> Result<bool> {
    let kept = stream::iter(editions)
        .map(|edition| async move { edition::keep(server.cx, server.connection, namespace, &edition).await });
    let kept: Vec<bool> = kept.buffer_unordered(server.parallel()).try_collect().await?;
    Ok(kept.into_iter().all(|kept| kept))
}

/// What others made and this apply is about to change, as edition 0, so that it can be brought back.
fn found_editions(prepared: &Prepared) -> Vec<Edition> {
    let foreign = prepared.made.iter().filter_map(|made| {
        let live = prepared.live.stable.get(&made.service).filter(|live| watch::revision(live).is_none())?;
        (made.number > 0 && prepared.editions.get(&made.service, 0).is_none()).then_some((made, live))
    });
    foreign
        .map(|(made, live)| Edition { number: 0, revision: 0, objects: vec![wish_of(live)], ..made.clone() })
        .collect()
}

/// What somebody wished of an object, without what the server added.
fn wish_of(live: &Value) -> Value {
    let mut json = live.clone();
    if let Some(object) = json.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| {
                !key.starts_with("deployment.kubernetes.io/")
                    && key != "kubectl.kubernetes.io/last-applied-configuration"
            });
        }
    }
    json
}

async fn write(
    server: &Server<'_>,
    hold: &mut Hold,
    request: &ApplyRequest,
    prepared: &Prepared,
    examined: &[Examined],
) -> Result<AppliedWorkload> {
    let namespace = &request.workload.namespace;
    let track = match request.placement {
        Placement::Beside { .. } => Track::Candidate,
        _ => Track::Stable,
    };
    let mut owned: BTreeSet<Key> = examined.iter().map(|examined| examined.wanted.key.clone()).collect();
    let mut known = inventory_of(server, request).await?;
    if let Some(workload) = request.workload.name.as_ref().filter(|_| !owned.is_subset(&known)) {
        known.extend(owned.iter().cloned());
        inventory::write(server.cx, server.connection, namespace.as_str(), workload, &known).await?;
    }
    if track == Track::Candidate {
        keep_requests_on_stable(server, prepared).await?;
    }
    let applied = in_layers(server, hold, namespace, examined).await?;
    if let Some(workload) = request.workload.name.as_ref().filter(|_| track == Track::Stable) {
        prune(server, hold, request, examined, &known).await?;
        owned.retain(|key| !is_version(key) || examined.iter().any(|examined| examined.wanted.key == *key));
        if known != owned {
            inventory::write(server.cx, server.connection, namespace.as_str(), workload, &owned).await?;
        }
    }
    if track == Track::Stable {
        tidy(server, namespace, prepared).await?;
    }
    Ok(answer(server, request, prepared, track, &applied))
}

/// Before a candidate has pods: Services send their requests to the stable ones alone.
async fn keep_requests_on_stable(server: &Server<'_>, prepared: &Prepared) -> Result<()> {
    for (service, live) in &prepared.live.stable {
        let Some(edition) = edition_of(live).and_then(|number| prepared.editions.get(service, number)) else {
            continue;
        };
        for object in edition
            .objects
            .iter()
            .filter(|object| Key::of(object).is("", "Service") && belonging::selects(object, live))
        {
            // Where a candidate stands already, its share stays as it is.
            if !prepared.live.candidates.contains_key(service) {
                apply_json(server, &toward(object, Toward::Stable)).await?;
            }
        }
    }
    Ok(())
}

/// Applies an object as it was kept, whoever changed it since.
pub(crate) async fn apply_json(server: &Server<'_>, json: &Value) -> Result<DynamicObject> {
    let key = Key::of(json);
    let Some(kind) = server.kind(&key).await? else {
        let message = format!("the server has no kind `{}` in `{}` any more", key.kind, key.api_version);
        return Err(Error::new(ErrorKind::NotFound, "cluster.apply", message));
    };
    let (params, patch) = (&PatchParams::apply(MANAGER).force(), &Patch::Apply(json));
    let apply = async |client| kind.api(client, key.namespace.as_deref()).patch(&key.name, params, patch).await;
    server.connection.call(server.cx, Call::writes("cluster.apply", "apply", &key), apply).await
}

/// Applies what was examined, layer by layer.
async fn in_layers(
    server: &Server<'_>,
    hold: &mut Hold,
    namespace: &Name,
    examined: &[Examined],
) -> Result<Vec<DynamicObject>> {
    let objects: Vec<Wanted> = examined.iter().map(|examined| examined.wanted.clone()).collect();
    let mut applied: Vec<Option<DynamicObject>> = vec![None; examined.len()];
    for layer in order::layers(&objects)? {
        hold.keep(server.cx).await?;
        settled(server, namespace, layer.after.iter().filter_map(|at| applied[*at].as_ref())).await?;
        let members: Vec<&Examined> = layer.members.iter().map(|at| &examined[*at]).collect();
        let answers = server.apply_all(&members).await?;
        for (at, answer) in layer.members.iter().zip(answers) {
            applied[*at] = Some(answer);
        }
        let foundations = layer.members.iter().filter(|at| order::is_foundation(&objects[**at].key));
        settled(server, namespace, foundations.filter_map(|at| applied[*at].as_ref())).await?;
    }
    Ok(applied.into_iter().flatten().collect())
}

/// Waits until these are ready, because something else needs them.
async fn settled(server: &Server<'_>, namespace: &Name, objects: impl Iterator<Item = &DynamicObject>) -> Result<()> {
    let awaited: Vec<Awaited> = objects.map(Awaited::of).collect();
    match watch::until_ready(server, namespace.as_str(), &awaited, watch::Judging::default()).await? {
        RolloutState::Failed { cause, chain } => {
            let message = format!("{cause}: {}", chain.join(": "));
            Err(Error::new(ErrorKind::RolloutFailed, "cluster.apply", message)
                .with_effect(Effect::Partial)
                .advice("what depends on it was not applied"))
        }
        _ => Ok(()),
    }
}

/// Takes away editions that nobody goes back to any more, with their configuration.
async fn tidy(server: &Server<'_>, namespace: &Name, prepared: &Prepared) -> Result<()> {
    let mut editions = prepared.editions.clone();
    let mut spare = Vec::new();
    for made in &prepared.made {
        let mut used = BTreeSet::from([made.number, made.revision]);
        for live in
            [prepared.live.stable.get(&made.service), prepared.live.candidates.get(&made.service)].into_iter().flatten()
        {
            used.extend(edition_of(live));
            used.extend(watch::revision(live));
        }
        let found = editions.tidy(server.cx, server.connection, namespace.as_str(), &made.service, &used).await?;
        spare.extend(found);
    }
    for key in spare {
        let Some(kind) = server.kind(&key).await? else { continue };
        // A name may look like ours and be somebody else's.
        let live = server
            .get(&kind, &key)
            .await?
            .filter(|live| live.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(BASE)));
        if let Some(live) = live {
            server.delete(&kind, &key, live.metadata.uid).await?;
        }
    }
    Ok(())
}

fn answer(
    server: &Server<'_>,
    request: &ApplyRequest,
    prepared: &Prepared,
    track: Track,
    applied: &[DynamicObject],
) -> AppliedWorkload {
    let mut digester = Digester::new();
    for object in &prepared.objects {
        digester.field(object.digest(server.salt).to_string());
    }
    let mut answer = AppliedWorkload::new(request.workload.namespace.clone(), track, digester.finish());
    answer.services.clone_from(&prepared.services);
    answer.revisions = prepared
        .made
        .iter()
        .filter_map(|edition| Some((ServiceName::new(&edition.service).ok()?, edition.revision)))
        .collect();
    answer.addresses = applied.iter().filter_map(|object| status::address(&json_of(object))).collect();
    let others: Vec<Awaited> = applied
        .iter()
        .map(Awaited::of)
        .filter(|awaited| !awaited.key.is("apps", "Deployment") && watch::is_waited_for(&awaited.key))
        .collect();
    answer.state = json!(State { workload: request.workload.name.clone(), others });
    answer
}
