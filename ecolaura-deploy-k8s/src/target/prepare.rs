//! A workload, read and rendered against what runs.

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result, Secret,
    backend::{ApplyRequest, Placement, Workload},
    vocabulary::ServiceName,
};
use serde_json::Value;

use super::{Inner, live::live};
use crate::{
    belonging::Around,
    edition::{Edition, Editions},
    inventory,
    manifest::{self, Reading, Surroundings, Wanted},
    object::Key,
    reconcile::Server,
    render::{self, Live, candidate_name},
    watch,
};

/// A workload, read and rendered against what runs.
pub(super) struct Prepared {
    pub(super) objects: Vec<Wanted>,
    /// The names of the Services in the manifests.
    pub(super) fronts: BTreeSet<String>,
    pub(super) services: Vec<ServiceName>,
    pub(super) warnings: Vec<String>,
    pub(super) editions: Editions,
    /// One for each service.
    pub(super) made: Vec<Edition>,
    pub(super) live: Live,
}

/// The manifests of a workload, for this cluster.
pub(super) async fn read(inner: &Inner, server: &Server<'_>, workload: &Workload) -> Result<Reading> {
    let surroundings = Surroundings {
        secrets: secrets(inner, server.cx, workload).await?,
        salt: server.salt.to_vec(),
        templates: inner.templates.clone(),
        registry: inner.registry.clone(),
    };
    manifest::read(workload, surroundings, server.cx.redactor()).await
}

pub(super) async fn prepare(inner: &Inner, server: &Server<'_>, request: &ApplyRequest) -> Result<Prepared> {
    let (workload, cx) = (&request.workload, server.cx);
    let reading = read(inner, server, workload).await?;
    let (mut objects, services, mut warnings) = (reading.objects, reading.services, reading.warnings);
    let names: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
    let mut live = live(server, &workload.namespace, &names).await?;
    let editions = match names.is_empty() {
        true => Editions::default(),
        false => Editions::read(cx, server.connection, workload.namespace.as_str(), &names).await?,
    };
    live.stable.values_mut().for_each(|deployment| inner.ownership.foresee(deployment));
    live.autoscalers.retain(|autoscaler| !is_leaving(autoscaler, workload, &objects));
    render::leave_to_autoscalers(&mut objects, &live, &mut warnings);
    let before = match request.placement {
        Placement::Beside { .. } => &live.candidates,
        _ => &live.stable,
    };
    let made = render::number(&mut objects, before, &editions);
    let services_of = |object: &&Wanted| object.key.is("", "Service");
    let fronts = objects.iter().filter(services_of).map(|object| object.key.name.clone()).collect();
    if let Placement::Beside { replicas } = request.placement {
        objects = beside(objects, &live, replicas)?;
    }
    Ok(Prepared { objects, fronts, services, warnings, editions, made, live })
}

/// Whether an object of this workload is not in its manifests any more, and goes.
fn is_leaving(live: &Value, workload: &Workload, objects: &[Wanted]) -> bool {
    let key = Key::of(live);
    let wanted = objects.iter().any(|object| object.key.kind == key.kind && object.key.name == key.name);
    workload.name.as_ref().is_some_and(|name| !wanted && inventory::stays(&key, live, name).is_none())
}

/// The values behind the workload's secrets.
async fn secrets(inner: &Inner, cx: &Context, workload: &Workload) -> Result<BTreeMap<String, Secret<String>>> {
    let mut values = BTreeMap::new();
    for (path, reference) in &workload.secrets {
        let Some(store) = inner.stores.iter().find(|store| *store.name() == reference.store) else {
            let message = format!("the secret `{path}` is in the store `{}`, which is not known", reference.store);
            return Err(Error::new(ErrorKind::NotFound, "cluster.secrets", message)
                .advice("tell the cluster of the store when it is made"));
        };
        values.insert(path.clone(), store.get(cx, reference).await?);
    }
    Ok(values)
}

/// Of a workload, what stands beside the one that runs: its Deployments as candidates, and what they need. What is there
/// already and serves the stable version stays as it is until the candidate is promoted.
fn beside(objects: Vec<Wanted>, live: &Live, replicas: Option<u32>) -> Result<Vec<Wanted>> {
    let all: Vec<Value> = objects.iter().map(|object| object.json.clone()).collect();
    let around = Around::of(&all);
    let mut kept = Vec::new();
    for mut object in objects {
        if object.key.is("apps", "Deployment") {
            let service = object.key.name.clone();
            let Some(stable) = live.stable.get(&service) else {
                let message = format!("nothing of `{service}` runs that a candidate could stand beside");
                return Err(
                    Error::new(ErrorKind::NotFound, "cluster.apply", message).advice("roll it out in place first")
                );
            };
            if watch::revision(stable).is_none() {
                let message = format!("{} was made by somebody else, and its pods have no track", object.key);
                return Err(Error::new(ErrorKind::Conflict, "cluster.apply", message)
                    .advice("roll it out in place once; from then on candidates can stand beside it"));
            }
            object.json = render::candidate(&object.json, &service, replicas);
            object.key.name = candidate_name(&service);
            object.title = object.key.to_string();
            kept.push(object);
        } else if object.versioned || is_needed(&object, &around) {
            kept.push(object);
        }
    }
    Ok(kept)
}

/// Whether pods may need the object before they serve.
fn is_needed(object: &Wanted, around: &Around<'_>) -> bool {
    let serves =
        ["Service", "Ingress", "HorizontalPodAutoscaler", "PodDisruptionBudget"].contains(&object.key.kind.as_str());
    around.served_by(&object.json).is_empty() && !serves && object.key.group() != "gateway.networking.k8s.io"
}
