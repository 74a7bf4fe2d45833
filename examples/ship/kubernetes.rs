//! The services on a Kubernetes cluster, their images in a registry that it pulls from.

use std::{path::Path, sync::Arc};

use ecolaura_deploy_core::{Context, Error, Result, backend::ClusterTarget, oci::OciRegistry};
use ecolaura_deploy_k8s::{Connect, KubernetesCluster};

use super::{
    backends::{Host, Place},
    options::ENVIRONMENTS,
    pipeline::namespace,
    storage::Storage,
};

/// Connects to the cluster of `kubeconfig`, for images in `near` or where `storage` has them. Each environment is a
/// namespace, made where it is missing.
pub async fn open(cx: &Context, kubeconfig: &Path, near: Option<&str>, storage: &dyn Storage) -> Result<Place> {
    within(cx, Connect::kubeconfig(kubeconfig), near, storage).await
}

/// The same on the cluster that `connect` reaches.
pub async fn within(cx: &Context, connect: Connect, near: Option<&str>, storage: &dyn Storage) -> Result<Place> {
    let Some(host) = storage.registry_host().or_else(|| near.map(str::to_owned)) else {
        return Err(Error::invalid("ship.options", "nodes must know where to pull images from")
            .advice("name a registry: --registry HOST:PORT"));
    };
    let connection = connect.connect(cx).await?;
    let mut cluster = KubernetesCluster::new("cluster".parse()?, connection).registry(&host).create_namespaces();
    for environment in ENVIRONMENTS {
        cluster = cluster.secret_store(storage.secrets(&environment.parse()?)?.0);
    }
    let cluster: Arc<dyn ClusterTarget> = Arc::new(cluster);
    let near = Arc::new(OciRegistry::new("registry".parse()?, &host)?);
    let registry = storage.registry(cx, near).await?;
    Ok(Place { host: Host::Kubernetes(Arc::clone(&cluster)), registry, cluster, inspect: Vec::new() })
}

/// Takes the services of every environment away, and says what was there. Namespaces stay.
pub async fn stop(cx: &Context, cluster: &dyn ClusterTarget) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for environment in ENVIRONMENTS {
        let mut snapshot = cluster.status(cx, &namespace(&environment.parse()?)?).await?.snapshot;
        // Revision 0 is somebody else's.
        snapshot.revisions.retain(|_, revision| revision.is_some_and(|revision| revision > 0));
        if snapshot.revisions.is_empty() {
            continue;
        }
        let names: Vec<String> = snapshot.revisions.keys().map(ToString::to_string).collect();
        snapshot.revisions.values_mut().for_each(|revision| *revision = None);
        cluster.restore(cx, &snapshot).await?;
        lines.push(format!("{environment}: {} ended", names.join(" and ")));
    }
    Ok(lines)
}
