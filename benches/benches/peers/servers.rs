//! The cluster that `.ci/with-servers` starts.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ecolaura_deploy_core::{Context, vocabulary::Name};
use ecolaura_deploy_k8s::{Connect, KubernetesCluster};
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

/// The servers that the environment names.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    pub(crate) kubeconfig: PathBuf,
    /// Empty without one.
    pub(crate) registry: String,
    pub(crate) have_node: bool,
}

pub(crate) fn cx() -> Context {
    Context::new("bench".parse().unwrap()).with_deadline_in(Duration::from_mins(10))
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl Servers {
    /// The error tells how to have them.
    pub(crate) fn find() -> Result<Self, String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(kubeconfig) = variable("ECOLAURA_TEST_KUBECONFIG") else {
            return Err(
                "no cluster: ECOLAURA_TEST_KUBECONFIG is not set; run this by `.ci/with-servers --peers`".to_owned()
            );
        };
        let registry = variable("ECOLAURA_TEST_REGISTRY").unwrap_or_default();
        let have_node = variable("ECOLAURA_TEST_NODE").is_some() && !registry.is_empty();
        Ok(Self { kubeconfig: kubeconfig.into(), registry, have_node })
    }

    pub(crate) fn kubeconfig(&self) -> &str {
        self.kubeconfig.to_str().unwrap()
    }

    /// A connection of its own, for what is no part of what is measured.
    pub(crate) async fn client(&self) -> Client {
        let config = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// The cluster as a program has it that was just started.
    pub(crate) async fn cluster(&self) -> KubernetesCluster {
        let connection = Connect::kubeconfig(&self.kubeconfig).connect(&cx()).await.unwrap();
        KubernetesCluster::new(name("cluster"), connection).registry(self.registry.clone())
    }

    pub(crate) async fn version(&self) -> String {
        self.client().await.apiserver_version().await.unwrap().git_version
    }

    /// A new namespace. It stays until [`Servers::clean`], so that nobody cleans up while something is measured.
    pub(crate) async fn namespace(&self) -> Name {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = name(&format!("bench-{}-{number}", std::process::id()));
        let namespace = serde_json::from_value(json!({"metadata": {"name": name.as_str()}})).unwrap();
        let client = self.client().await;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        // Pods need its account, which somebody else makes.
        let accounts = Api::<k8s_openapi::api::core::v1::ServiceAccount>::namespaced(client, name.as_str());
        while accounts.get_opt("default").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        name
    }

    /// Deletes namespaces, without waiting until they are gone.
    pub(crate) async fn clean(&self, namespaces: Vec<Name>) {
        let (api, params) = (Api::<Namespace>::all(self.client().await), DeleteParams::default());
        let deleted = join_all(namespaces.iter().map(|name| api.delete(name.as_str(), &params))).await;
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }
}
