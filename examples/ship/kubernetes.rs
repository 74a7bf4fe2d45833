//! The services on a Kubernetes cluster, their images in a registry that it pulls from.

use std::{path::Path, sync::Arc};

use ecolaura_deploy_core::{
    Context, Result,
    backend::{ClusterTarget, Registry},
    oci::OciRegistry,
};
use ecolaura_deploy_k8s::{Connect, KubernetesCluster};

use super::{
    backends::{Host, Place, secrets},
    layout::Layout,
    options::ENVIRONMENTS,
    pipeline::namespace,
};

/// Connects to the cluster of `kubeconfig`, for images in `registry`. Each environment is a namespace, made where it is
/// missing.
pub async fn open(layout: &Layout, kubeconfig: &Path, registry: &str) -> Result<Place> {
    let cx = Context::new("dev".parse()?);
    let connection = Connect::kubeconfig(kubeconfig).connect(&cx).await?;
    let mut cluster = KubernetesCluster::new("cluster".parse()?, connection).registry(registry).create_namespaces();
    for environment in ENVIRONMENTS {
        cluster = cluster.secret_store(Arc::new(secrets(layout, &environment.parse()?)?));
    }
    let cluster: Arc<dyn ClusterTarget> = Arc::new(cluster);
    let registry: Arc<dyn Registry> = Arc::new(OciRegistry::new("registry".parse()?, registry)?);
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
