//! The rights that applying a workload takes, and whether they are there before anything is done.

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    backend::{ApplyRequest, ClusterPlan},
    plan::Action,
};
use kube::core::ApiResource;
use serde_json::Value;

use super::{Inner, KubernetesCluster, prepare};
use crate::{
    access::{Missing, Need, Needs},
    manifest::Wanted,
    names::MANAGER,
    object::Key,
    reconcile::Server,
    watch::is_waited_for,
};

/// Everything that may be done with an object of a manifest: looked at, applied, and taken away when it is undone or
/// leaves the manifests.
const APPLIED: [&str; 4] = ["get", "create", "patch", "delete"];

/// To wait until it is as it should be.
const AWAITED: [&str; 2] = ["list", "watch"];

type Row = (&'static str, &'static str, &'static [&'static str]);

/// Where pods are rolled out: to judge them, and to record what ran.
const ROLL_OUT: [Row; 6] = [
    ("apps", "deployments", &["get", "list", "watch"]),
    ("apps", "replicasets", &["list", "watch"]),
    ("", "pods", &["list", "watch"]),
    ("", "events", &["list", "watch"]),
    ("apps", "controllerrevisions", &["list", "create", "delete"]),
    ("autoscaling", "horizontalpodautoscalers", &["list"]),
];

impl KubernetesCluster {
    /// The rights that [`ClusterTarget::apply`](ecolaura_deploy_core::backend::ClusterTarget::apply) of `request` takes
    /// and no others, planning, waiting, shifting and undoing it included. [`Needs::rules`] makes roles of them, and
    /// [`Needs::missing`] asks for each whether the account has it; a plan that changes something does so by itself.
    ///
    /// Reads the manifests and the secret store, and asks the server which kinds it has. Kinds that nobody has defined yet,
    /// in the manifests neither, are left out.
    pub async fn needs(&self, cx: &Context, request: &ApplyRequest) -> Result<Needs> {
        let inner = self.inner();
        let server = inner.server(cx, &[]);
        let objects = prepare::read(inner, &server, &request.workload).await?.objects;
        needs(inner, &server, request, &objects).await
    }
}

async fn needs(inner: &Inner, server: &Server<'_>, request: &ApplyRequest, objects: &[Wanted]) -> Result<Needs> {
    let namespace = request.workload.namespace.as_str();
    let within = |verb: &str, group: &str, resource: &str| Need::new(verb, group, resource).within(namespace);
    let mut needs = Needs::default();
    for verb in ["get", "create", "update"] {
        needs.add(within(verb, "coordination.k8s.io", "leases").named(MANAGER));
    }
    for verb in ["get", "create"] {
        needs.add(within(verb, "", "secrets").named(MANAGER));
    }
    if let Some(workload) = &request.workload.name {
        for verb in ["get", "create", "patch"] {
            needs.add(within(verb, "", "configmaps").named(format!("{MANAGER}.{workload}")));
        }
    }
    if inner.create_namespaces {
        needs.add(Need::new("get", "", "namespaces").named(namespace));
        for verb in ["create", "patch"] {
            needs.add(Need::new(verb, "", "namespaces").named(namespace));
        }
    }
    if objects.iter().any(|object| object.key.is("apps", "Deployment")) {
        for (group, resource, verbs) in ROLL_OUT {
            needs.extend(verbs.iter().map(|verb| within(verb, group, resource)));
        }
    }
    if objects.iter().any(|object| object.key.is("", "Service")) {
        needs.extend(AWAITED.map(|verb| within(verb, "discovery.k8s.io", "endpointslices")));
    }
    for object in objects {
        let Some((resource, namespaced)) = resource(server, object, objects).await? else { continue };
        let awaited = AWAITED.into_iter().filter(|_| is_waited_for(&object.key));
        for verb in APPLIED.into_iter().chain(awaited) {
            let need = Need::new(verb, &resource.group, &resource.plural);
            needs.add(if namespaced { need.within(namespace) } else { need });
        }
    }
    Ok(needs)
}

/// The resource of an object: as the server has it, or as a definition in the same manifests will bring it.
async fn resource(server: &Server<'_>, object: &Wanted, all: &[Wanted]) -> Result<Option<(ApiResource, bool)>> {
    if let Some(kind) = server.kind(&object.key).await? {
        return Ok(Some((kind.resource, kind.namespaced)));
    }
    Ok(all.iter().find_map(|definition| defined(&definition.json, &object.key)))
}

fn defined(definition: &Value, key: &Key) -> Option<(ApiResource, bool)> {
    let spec = definition
        .get("spec")
        .filter(|_| Key::of(definition).is("apiextensions.k8s.io", "CustomResourceDefinition"))?;
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
    let (group, version) = key.api_version.split_once('/')?;
    let fits = text("/group") == Some(group) && text("/names/kind") == Some(&key.kind);
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: key.api_version.clone(),
        kind: key.kind.clone(),
        plural: text("/names/plural")?.to_owned(),
    };
    fits.then(|| (resource, text("/scope") == Some("Namespaced")))
}

/// `planned`, unless a right is missing for it: then all that are missing, and the rules that grant them. A plan that
/// changes nothing takes none but those that it was made with.
pub(super) async fn checked(
    inner: &Inner,
    server: &Server<'_>,
    request: &ApplyRequest,
    planned: Result<ClusterPlan>,
) -> Result<ClusterPlan> {
    let denied = match &planned {
        Ok(plan) if plan.changes.iter().all(|change| change.action == Action::NoOp) => return planned,
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => true,
        Err(_) => return planned,
    };
    match missing(inner, server, request).await {
        Ok(None) => planned,
        // What the server said first says more than that nobody can be asked.
        Err(_) if denied => planned,
        Ok(Some(error)) | Err(error) => Err(error),
    }
}

async fn missing(inner: &Inner, server: &Server<'_>, request: &ApplyRequest) -> Result<Option<Error>> {
    let objects = prepare::read(inner, server, &request.workload).await?.objects;
    let needs = needs(inner, server, request, &objects).await?;
    let missing = needs.missing(server.cx, server.connection, MANAGER).await?;
    Ok(missing.map(Missing::into_error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_is_known_from_its_definition() {
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "boxes.example.com"},
            "spec": {"group": "example.com", "scope": "Cluster", "names": {"kind": "Box", "plural": "boxes"}}});
        let key = |kind: &str| Key::new("example.com/v1", kind, None, "a");
        let (resource, namespaced) = defined(&definition, &key("Box")).unwrap();
        assert_eq!((resource.plural.as_str(), namespaced), ("boxes", false));
        assert!(defined(&definition, &key("Bag")).is_none());
        assert!(defined(&json!({"apiVersion": "v1", "kind": "ConfigMap"}), &key("Box")).is_none());
    }
}
