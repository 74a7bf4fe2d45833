//! Tokens that are taken back.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Result, Secret,
    backend::{ClusterTarget as _, Placement, RolloutState},
};
use ecolaura_deploy_k8s::{Connect, KubernetesCluster, Token, TokenSource};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenReview},
    core::v1::{Secret as KubernetesSecret, ServiceAccount},
    rbac::v1::ClusterRoleBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use super::{on_a_control_plane, relay::Relay, waits, web};
use crate::support::{cx, name};

/// Makes tokens of a service account, each of which is good as long as its Secret is there.
#[derive(Debug)]
struct Bound {
    client: Silent,
    namespace: String,
    made: AtomicU32,
    first: OnceLock<String>,
}

/// A client says nothing of itself.
#[derive(Clone)]
struct Silent(Client);

impl std::fmt::Debug for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Bound {
    fn secrets(&self) -> Api<KubernetesSecret> {
        Api::namespaced(self.client.0.clone(), &self.namespace)
    }

    /// Takes the first token back, until the server refuses it, which remembers for some seconds what it let in.
    async fn take_back(&self) {
        self.secrets().delete("bound-1", &DeleteParams::default()).await.unwrap();
        let review = json!({"spec": {"token": self.first.get().unwrap()}});
        let review: TokenReview = serde_json::from_value(review).unwrap();
        let reviews = Api::<TokenReview>::all(self.client.0.clone());
        loop {
            let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
            if answer.status.and_then(|status| status.authenticated) != Some(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

#[async_trait]
impl TokenSource for Bound {
    async fn token(&self) -> Result<Token> {
        let name = format!("bound-{}", self.made.fetch_add(1, Ordering::SeqCst) + 1);
        let secret = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        let made = self.secrets().create(&PostParams::default(), &secret).await.unwrap();
        let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": [], "boundObjectRef":
            {"kind": "Secret", "apiVersion": "v1", "name": name, "uid": made.metadata.uid}}}))
        .unwrap();
        let accounts = Api::<ServiceAccount>::namespaced(self.client.0.clone(), &self.namespace);
        let answer = accounts.create_token_request("deployer", &PostParams::default(), &request).await.unwrap();
        let token = answer.status.unwrap().token.unwrap();
        _ = self.first.set(token.clone());
        Ok(Token::new(Secret::new(token)))
    }
}

async fn account(client: &Client, namespace: &str) {
    let account = json!({"metadata": {"name": "deployer"}});
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    accounts.create(&PostParams::default(), &serde_json::from_value(account).unwrap()).await.unwrap();
    let binding = json!({"metadata": {"name": namespace}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}]});
    let bindings = Api::<ClusterRoleBinding>::all(client.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
}

#[test]
fn a_token_that_is_taken_back_in_the_middle_of_a_wait_is_renewed() {
    on_a_control_plane(async |bench| {
        let namespace = bench.namespace.name.as_str();
        account(&bench.client, namespace).await;
        let source = Arc::new(Bound {
            client: Silent(bench.client.clone()),
            namespace: namespace.to_owned(),
            made: AtomicU32::new(0),
            first: OnceLock::new(),
        });
        let (server, authority) = bench.servers.address();
        let relay = Relay::before(server.trim_start_matches("https://").to_owned()).await;
        let connect = Connect::tokens(relay.url(), source.clone()).certificate_authority(authority);
        let connection = connect.connect(&cx()).await.unwrap();
        // The right comes a moment after the binding.
        while connection.check(&cx()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let cluster = KubernetesCluster::new(name("cluster"), connection);
        let (_files, request) = bench.request(&web('1'), Placement::Replace);
        let applied = cluster.apply(&cx(), &request).await.unwrap();
        let waiting = waits(&cluster, &applied);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(source.made.load(Ordering::SeqCst), 1);
        source.take_back().await;
        // Watches that stand are not asked for a token again; these end.
        relay.cut();
        let _pretended = bench.pretend();
        assert_eq!(waiting.await.unwrap().unwrap(), RolloutState::Ready);
        assert_eq!(source.made.load(Ordering::SeqCst), 2);
        let bindings = Api::<ClusterRoleBinding>::all(bench.client.clone());
        bindings.delete(namespace, &DeleteParams::default()).await.unwrap();
    });
}
