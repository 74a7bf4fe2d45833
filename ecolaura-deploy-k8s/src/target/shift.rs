//! Moving requests between the stable version and a candidate.

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    backend::{AppliedWorkload, Traffic, TrafficRequest},
    vocabulary::Name,
};
use serde_json::Value;

use super::{Inner, apply::apply_json, awaited, deployment_key, deployment_kind, live::json_of, partly, restore};
use crate::{
    belonging, diff,
    edition::{Edition, Editions},
    manifest::template_labels,
    names::TRACK,
    object::Key,
    order,
    reconcile::Server,
    render::{candidate_name, edition_of},
    traffic::{self, Toward, toward},
    watch, weights,
};

/// A service of a workload that has, or had, a candidate.
struct Pair {
    service: String,
    stable: Value,
    candidate: Option<Value>,
    /// What the stable one is of.
    edition: Edition,
}

/// A Service as its edition has it.
pub(super) struct Stand {
    pub(super) service: Value,
}

pub(super) async fn shift(inner: &Inner, cx: &Context, request: &TrafficRequest) -> Result<()> {
    let applied = &request.candidate;
    match request.traffic {
        Traffic::Candidate { percent } if percent > 100 => {
            Err(Error::invalid("cluster.shift", format!("{percent} % of the requests, expected 0 to 100")))
        }
        Traffic::Candidate { percent } => share(inner, cx, applied, percent).await,
        Traffic::Promote => promote(inner, cx, applied).await,
        Traffic::Discard => discard(inner, cx, applied).await,
        _ => Err(Error::new(ErrorKind::Unsupported, "cluster.shift", "this kind of traffic is not known here")),
    }
}

/// The pairs of the workload.
async fn pairs(server: &Server<'_>, applied: &AppliedWorkload, editions: &Editions) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    let kind = deployment_kind();
    for service in &applied.services {
        let get = async |name: &str| {
            let found = server.get(&kind, &deployment_key(&applied.namespace, name)).await?;
            Ok::<_, Error>(
                found.filter(|found| found.metadata.deletion_timestamp.is_none()).map(|found| json_of(&found)),
            )
        };
        let Some(stable) = get(service.as_str()).await? else { return Err(no_candidate(applied, service.as_str())) };
        let candidate = get(&candidate_name(service.as_str())).await?;
        let Some(edition) = edition_of(&stable).and_then(|number| editions.get(service.as_str(), number)).cloned()
        else {
            let message = format!("what was applied of {service} in {} is no longer kept", applied.namespace);
            return Err(Error::new(ErrorKind::NotFound, "cluster.shift", message).advice("roll it out in place once"));
        };
        pairs.push(Pair { service: service.to_string(), stable, candidate, edition });
    }
    Ok(pairs)
}

fn no_candidate(applied: &AppliedWorkload, service: &str) -> Error {
    let revision = applied
        .services
        .iter()
        .zip(applied.revisions.values())
        .find(|(name, _)| name.as_str() == service)
        .map(|(_, revision)| revision);
    let revision = revision.map_or(String::new(), |revision| format!(" of revision {revision}"));
    Error::new(
        ErrorKind::NotFound,
        "cluster.shift",
        format!("{service} in {} has no candidate{revision}", applied.namespace),
    )
    .advice("it was promoted or discarded, or another took its place; roll out again")
}

/// Whether the pair's candidate is the one that is asked about.
fn is_asked(pair: &Pair, applied: &AppliedWorkload) -> bool {
    let wanted =
        applied.revisions.iter().find(|(service, _)| service.as_str() == pair.service).map(|(_, revision)| *revision);
    pair.candidate.as_ref().is_some_and(|candidate| watch::revision(candidate) == wanted)
}

/// What stands in front of the Services of a Deployment and has weights: each with the Service that it decides on.
fn fronts<'a>(edition: &'a Edition, stable: &'a Value) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    let services =
        edition.objects.iter().filter(|object| Key::of(object).is("", "Service") && belonging::selects(object, stable));
    services.flat_map(|service| {
        let name = service.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        edition.objects.iter().filter(move |object| weights::decides(object, name)).map(move |front| (front, service))
    })
}

impl Pair {
    fn fronts(&self) -> impl Iterator<Item = (&Value, &Value)> {
        fronts(&self.edition, &self.stable)
    }

    /// Where its Services send requests at a share.
    fn toward(&self, percent: u8) -> Toward {
        match percent {
            0 => Toward::Stable,
            100 => Toward::Candidate,
            // What stands in front splits the requests by itself.
            _ if self.fronts().next().is_some() => Toward::Stable,
            _ => Toward::Both,
        }
    }

    /// The Services that send requests to the stable pods.
    fn services(&self) -> impl Iterator<Item = &Value> {
        let selects = |object: &&Value| Key::of(object).is("", "Service") && belonging::selects(object, &self.stable);
        self.edition.objects.iter().filter(selects)
    }
}

async fn share(inner: &Inner, cx: &Context, applied: &AppliedWorkload, percent: u8) -> Result<()> {
    let namespace = &applied.namespace;
    let server = inner.server(cx, &[]);
    let mut scaled = Vec::new();
    // First enough pods, then requests for them.
    inner
        .holding(cx, namespace, "cluster.shift", async |_| {
            let editions = Editions::read(cx, server.connection, namespace.as_str(), &[]).await?;
            for pair in pairs(&server, applied, &editions).await? {
                let Some(candidate) = pair.candidate.clone().filter(|_| is_asked(&pair, applied)) else {
                    return Err(no_candidate(applied, &pair.service));
                };
                if (1..100).contains(&percent) && pair.fronts().next().is_none() {
                    scaled.extend(scale(&server, &pair, &candidate, percent, &editions).await.map_err(partly)?);
                }
            }
            Ok(())
        })
        .await?;
    restore::ready(&server, namespace, &scaled, inner).await?;
    let moved = inner
        .holding(cx, namespace, "cluster.shift", async |_| {
            let editions = Editions::read(cx, server.connection, namespace.as_str(), &[]).await?;
            let pairs = pairs(&server, applied, &editions).await?;
            if let Some(pair) = pairs.iter().find(|pair| !is_asked(pair, applied)) {
                return Err(no_candidate(applied, &pair.service));
            }
            turn(&server, &pairs, percent).await.map_err(partly)
        })
        .await?;
    converge(inner, &server, namespace, &moved).await
}

/// Gives the candidate as many pods as come nearest to the share.
async fn scale(
    server: &Server<'_>,
    pair: &Pair,
    candidate: &Value,
    percent: u8,
    editions: &Editions,
) -> Result<Option<watch::Awaited>> {
    let number = |json: &Value| {
        json.pointer("/spec/replicas").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
    };
    let stable = number(&pair.stable).unwrap_or(1);
    let wanted = traffic::replicas(stable, percent);
    let share = traffic::share(stable, wanted);
    if share != u32::from(percent) {
        let pods = if wanted == 1 { "1 pod".to_owned() } else { format!("{wanted} pods") };
        server.cx.status(format!(
            "{}: {pods} beside {stable} get about {share} % of the requests, {percent} % were asked for",
            pair.service
        ));
    }
    if number(candidate) == Some(wanted) {
        return Ok(None);
    }
    let kept =
        edition_of(candidate).and_then(|number| editions.get(&pair.service, number)).and_then(Edition::deployment);
    let Some(kept) = kept else {
        let message = format!("what the candidate of {} is made of is no longer kept", pair.service);
        return Err(Error::new(ErrorKind::NotFound, "cluster.shift", message).advice("discard it and roll out again"));
    };
    let json = crate::render::candidate(kept, &pair.service, Some(wanted));
    let applied = apply_json(server, &json).await?;
    Ok(Some(watch::Awaited::of(&applied)))
}

/// A Service whose requests were moved, and the pods that they go to.
struct Moved {
    name: String,
    /// The labels of the pods.
    selector: String,
}

/// Has the pairs send this share to their candidates. What does so already is left alone.
async fn turn(server: &Server<'_>, pairs: &[Pair], percent: u8) -> Result<Vec<Moved>> {
    let mut moved = Vec::new();
    for pair in pairs {
        for (front, service) in pair.fronts() {
            put(server, &weights::candidate_service(service)).await?;
            let name = service.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            take_in(server, &weights::weighted(front, name, percent)).await?;
        }
        for service in pair.services() {
            moved.push(put(server, &toward(service, pair.toward(percent))).await?);
        }
    }
    Ok(moved)
}

/// Applies what stands in front of Services, and waits until its controller says that it has taken it in.
async fn take_in(server: &Server<'_>, json: &Value) -> Result<()> {
    let generation = apply_json(server, json).await?.metadata.generation.unwrap_or_default();
    let key = Key::of(json);
    let Some(kind) = server.kind(&key).await? else { return Ok(()) };
    let seen = |found: Option<&kube::core::DynamicObject>| {
        found.is_none_or(|found| weights::is_taken_in(&json_of(found), generation))
    };
    watch::until(server, &kind, &key, "cluster.shift", seen).await
}

async fn put(server: &Server<'_>, json: &Value) -> Result<Moved> {
    let key = Key::of(json);
    let live = server.get(&super::service_kind(), &key).await?.map(|live| json_of(&live));
    let is_so = live.as_ref().is_some_and(|live| {
        diff::is_within(json, live) && live.pointer("/spec/selector") == json.pointer("/spec/selector")
    });
    if !is_so {
        apply_json(server, json).await?;
    }
    let selector = crate::manifest::texts(json.pointer("/spec/selector"));
    let selector = selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    Ok(Moved { name: key.name, selector })
}

/// Waits until the endpoints of the Services are the ready pods that they select and no others, and until nodes have
/// had the time to follow.
async fn converge(inner: &Inner, server: &Server<'_>, namespace: &Name, moved: &[Moved]) -> Result<()> {
    let mut changed = false;
    for moved in moved {
        changed |= watch::endpoints(server, namespace.as_str(), &moved.name, &moved.selector).await?;
    }
    if changed || !moved.is_empty() {
        server.cx.sleep("cluster.shift", inner.settle).await?;
    }
    Ok(())
}

async fn promote(inner: &Inner, cx: &Context, applied: &AppliedWorkload) -> Result<()> {
    let namespace = &applied.namespace;
    let server = inner.server(cx, &[]);
    let mut rolling = Vec::new();
    // The stable one gets the candidate's pods, whoever has the requests meanwhile.
    inner
        .holding(cx, namespace, "cluster.shift", async |_| {
            let editions = Editions::read(cx, server.connection, namespace.as_str(), &[]).await?;
            for pair in pairs(&server, applied, &editions).await? {
                let wanted = applied
                    .revisions
                    .iter()
                    .find(|(service, _)| service.as_str() == pair.service)
                    .map(|(_, revision)| *revision);
                if pair.candidate.is_none() && watch::revision(&pair.stable) == wanted {
                    continue;
                }
                let Some(candidate) = pair.candidate.as_ref().filter(|_| is_asked(&pair, applied)) else {
                    return Err(no_candidate(applied, &pair.service));
                };
                let edition = edition_of(candidate).and_then(|number| editions.get(&pair.service, number));
                let Some(edition) = edition else { return Err(no_candidate(applied, &pair.service)) };
                take_over(&server, edition).await.map_err(partly)?;
                rolling.push(awaited(namespace, &pair.service, wanted));
            }
            Ok(())
        })
        .await?;
    restore::ready(&server, namespace, &rolling, inner).await?;
    let services: Vec<&str> =
        applied.services.iter().map(ecolaura_deploy_core::vocabulary::ServiceName::as_str).collect();
    inner
        .holding(cx, namespace, "cluster.shift", async |_| end_candidates(inner, &server, namespace, &services).await)
        .await
        .map_err(partly)
}

/// Applies an edition without its Services.
async fn take_over(server: &Server<'_>, edition: &Edition) -> Result<()> {
    let mut objects: Vec<&Value> = edition.objects.iter().collect();
    objects.sort_by_key(|object| order::stage(&Key::of(object)));
    for object in objects {
        let key = Key::of(object);
        let others = key.is("apps", "Deployment") && key.name != edition.service;
        if !others && !key.is("", "Service") {
            apply_json(server, object).await?;
        }
    }
    Ok(())
}

async fn discard(inner: &Inner, cx: &Context, applied: &AppliedWorkload) -> Result<()> {
    let namespace = &applied.namespace;
    let server = inner.server(cx, &[]);
    let services: Vec<&str> =
        applied.services.iter().map(ecolaura_deploy_core::vocabulary::ServiceName::as_str).collect();
    inner
        .holding(cx, namespace, "cluster.shift", async |_| end_candidates(inner, &server, namespace, &services).await)
        .await
}

/// Gives all requests of `services` to the stable pods, takes their candidates away, and leaves their Services as their
/// editions have them. What has no candidate is only looked at.
pub(super) async fn end_candidates(
    inner: &Inner,
    server: &Server<'_>,
    namespace: &Name,
    services: &[&str],
) -> Result<()> {
    let editions = Editions::read(server.cx, server.connection, namespace.as_str(), &[]).await?;
    let kind = deployment_kind();
    let mut moved = Vec::new();
    let mut ending = Vec::new();
    for service in services {
        let candidate = server.get(&kind, &deployment_key(namespace, &candidate_name(service))).await?;
        let stable = server.get(&kind, &deployment_key(namespace, service)).await?.map(|live| json_of(&live));
        let Some(stable) = stable else { continue };
        let Some(edition) = edition_of(&stable).and_then(|number| editions.get(service, number)) else { continue };
        let tracked = template_labels(&stable).contains_key(TRACK);
        for stand in restore::at_rest(edition).filter(|stand| belonging::selects(&stand.service, &stable)) {
            let to = if candidate.is_some() && tracked { Toward::Stable } else { Toward::Both };
            let before = server.get(&super::service_kind(), &Key::of(&stand.service)).await?.map(|live| json_of(&live));
            let put = put(server, &toward(&stand.service, to)).await?;
            let same = before.as_ref().and_then(|before| before.pointer("/spec/selector"))
                == toward(&stand.service, to).pointer("/spec/selector");
            if !same {
                moved.push(put);
            }
        }
        for (front, _) in fronts(edition, &stable).filter(|_| candidate.is_some()) {
            take_in(server, front).await?;
        }
        if let Some(candidate) = candidate {
            ending.push((*service, edition, candidate.metadata.uid, stable));
        }
    }
    converge(inner, server, namespace, &moved).await?;
    for (service, edition, uid, stable) in ending {
        server.delete(&kind, &deployment_key(namespace, &candidate_name(service)), uid).await?;
        watch::pods_gone(server, namespace.as_str(), service, Some("candidate")).await?;
        for (_, service) in fronts(edition, &stable) {
            server.delete(&super::service_kind(), &Key::of(&weights::candidate_service(service)), None).await?;
        }
        for stand in restore::at_rest(edition).filter(|stand| belonging::selects(&stand.service, &stable)) {
            put(server, &stand.service).await?;
        }
    }
    Ok(())
}
