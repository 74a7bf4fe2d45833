use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Error, ErrorKind, Result, Secret,
    backend::{ApplyRequest, ClusterTarget as _, Placement, RolloutState, Traffic, TrafficRequest, Workload},
};
use ecolaura_deploy_k8s::{
    Connect, Connection, KubernetesCluster, Token, TokenSource,
    access::{Egress, Need, Needs, Rules, Subject, network_policy},
    diagnose::{Selection, diagnose},
};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, PostParams},
    core::ApiResource,
};

use crate::support::{Scratch, Servers, control_plane, cx, name, runtime};

/// A namespace with a service account `deployer` that may nothing.
struct Account {
    servers: Servers,
    namespace: Scratch,
    client: Client,
}

impl Account {
    async fn new() -> Option<Self> {
        let servers = tokio::task::block_in_place(control_plane)?;
        let account = Self { namespace: servers.namespace().await, client: servers.client().await, servers };
        account.create().await;
        Some(account)
    }

    fn namespace(&self) -> &str {
        self.namespace.name.as_str()
    }

    fn accounts(&self) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), self.namespace())
    }

    async fn create(&self) {
        let account = serde_json::from_value(serde_json::json!({"metadata": {"name": "deployer"}})).unwrap();
        self.accounts().create(&PostParams::default(), &account).await.unwrap();
    }

    fn subject(&self) -> Subject {
        Subject::service_account(self.namespace(), "deployer")
    }

    /// Connected as it, by tokens that the server makes.
    async fn connection(&self) -> (Connection, Arc<Tokens>) {
        let tokens = Arc::new(Tokens { accounts: self.accounts(), made: AtomicU32::new(0) });
        let kubeconfig = kube::config::Kubeconfig::read_from(&self.servers.kubeconfig).unwrap();
        let cluster = kubeconfig.clusters[0].cluster.clone().unwrap();
        let authority = authority(&cluster);
        let connect = Connect::tokens(cluster.server.unwrap(), tokens.clone()).certificate_authority(authority);
        (connect.connect(&cx()).await.unwrap(), tokens)
    }

    async fn grant(&self, rules: &Rules) {
        for json in rules.objects() {
            let object: DynamicObject = serde_json::from_value(json).unwrap();
            let kind = object.types.clone().unwrap().kind;
            let resource = ApiResource {
                group: "rbac.authorization.k8s.io".to_owned(),
                version: "v1".to_owned(),
                api_version: "rbac.authorization.k8s.io/v1".to_owned(),
                plural: format!("{}s", kind.to_lowercase()),
                kind,
            };
            let api: Api<DynamicObject> = match &object.metadata.namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
                None => Api::all_with(self.client.clone(), &resource),
            };
            api.create(&PostParams::default(), &object).await.unwrap();
        }
    }
}

fn authority(cluster: &kube::config::Cluster) -> Vec<u8> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    match &cluster.certificate_authority_data {
        Some(data) => BASE64_STANDARD.decode(data).unwrap(),
        None => fs::read(cluster.certificate_authority.as_ref().unwrap()).unwrap(),
    }
}

/// Tokens of the account for ten minutes, the shortest time that a server gives.
#[derive(Debug)]
struct Tokens {
    accounts: Api<ServiceAccount>,
    made: AtomicU32,
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<Token> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let spec = TokenRequestSpec { expiration_seconds: Some(600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let made = self.accounts.create_token_request("deployer", &PostParams::default(), &request).await;
        let made = made.map_err(|error| Error::new(ErrorKind::Unavailable, "test.token", error.to_string()))?;
        Ok(Token::new(Secret::new(made.status.unwrap().token.unwrap())).good_for(Duration::from_mins(10)))
    }
}

#[test]
fn a_kubeconfig_leads_to_the_server() {
    let Some(Servers { kubeconfig, .. }) = control_plane() else { return };
    runtime().block_on(async {
        let identity = Connect::kubeconfig(kubeconfig).connect(&cx()).await.unwrap().check(&cx()).await.unwrap();
        assert!(identity.version.starts_with("v1."), "{identity}");
        assert!(identity.groups.contains(&"system:authenticated".to_owned()), "{identity:?}");
    });
}

#[test]
fn a_token_that_the_server_forgot_is_replaced() {
    runtime().block_on(async {
        let Some(account) = Account::new().await else { return };
        let (connection, tokens) = account.connection().await;
        let user = format!("system:serviceaccount:{}:deployer", account.namespace());
        assert_eq!(connection.check(&cx()).await.unwrap().user, user);
        assert_eq!(tokens.made.load(Ordering::SeqCst), 1);
        // Its tokens end with the account, and with the new one comes another.
        account.accounts().delete("deployer", &DeleteParams::default()).await.unwrap();
        account.create().await;
        // The server believes a token for some seconds more.
        for _ in 0..60 {
            assert_eq!(connection.check(&cx()).await.unwrap().user, user);
            if tokens.made.load(Ordering::SeqCst) == 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("the server still takes the token of an account that is gone");
    });
}

#[test]
fn the_rules_grant_what_is_missing_and_nothing_else() {
    runtime().block_on(async {
        let Some(account) = Account::new().await else { return };
        let (connection, _) = account.connection().await;
        let within = account.namespace();
        let needs: Needs = [
            Need::new("get", "apps", "deployments").within(within),
            Need::new("patch", "apps", "deployments").within(within),
            Need::new("get", "", "pods").subresource("log").within(within),
            Need::new("get", "", "secrets").within(within).named("mine"),
            Need::new("get", "", "namespaces").within(within),
        ]
        .into_iter()
        .collect();
        let missing = needs.missing(&cx(), &connection, "deployer").await.unwrap().unwrap();
        assert_eq!(missing.refusals.len(), needs.iter().count(), "{missing}");
        assert!(missing.user.ends_with(":deployer"));
        account.grant(&missing.rules).await;
        eventually_none(&needs, &connection).await;

        let more: Needs = [
            Need::new("delete", "apps", "deployments").within(within),
            Need::new("get", "", "pods").within(within),
            Need::new("get", "", "secrets").within(within).named("other"),
            Need::new("list", "", "secrets").within(within),
            Need::new("get", "apps", "deployments").within("default"),
            Need::new("list", "", "namespaces"),
        ]
        .into_iter()
        .collect();
        let still = more.missing(&cx(), &connection, "deployer").await.unwrap().unwrap();
        assert_eq!(still.refusals.len(), more.iter().count(), "{still}");
    });
}

/// Rules reach the authorizer a moment after they are written.
async fn eventually_none(needs: &Needs, connection: &Connection) {
    let mut missing = None;
    for _ in 0..50 {
        missing = needs.missing(&cx(), connection, "deployer").await.unwrap();
        if missing.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{}", missing.unwrap());
}

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: shop/web
        envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: keys}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {key: value-of-the-key}
";

fn request(folder: &Path, namespace: &str) -> ApplyRequest {
    let manifest = folder.join("web.yaml");
    fs::write(&manifest, MANIFEST).unwrap();
    let image = format!("shop/web@sha256:{}", "0".repeat(64)).parse().unwrap();
    let workload = Workload::new(name(namespace), [manifest]).named(name("shop")).image("shop/web", image);
    ApplyRequest::new(workload, Placement::Replace)
}

#[test]
fn the_crates_own_needs_are_enough_to_deploy() {
    runtime().block_on(async {
        let Some(account) = Account::new().await else { return };
        let needs = Needs::to_deploy(account.namespace());
        account.grant(&needs.rules("deployer", &account.subject())).await;
        let (connection, _) = account.connection().await;
        eventually_none(&needs, &connection).await;
        let cluster = KubernetesCluster::new(name("cluster"), connection).registry("127.0.0.1:5000");
        let folder = tempfile::tempdir().unwrap();
        let request = request(folder.path(), account.namespace());
        cluster.plan(&cx(), &request).await.unwrap();
        let before = cluster.status(&cx(), &account.namespace.name).await.unwrap().snapshot;
        let applied = cluster.apply(&cx(), &request).await.unwrap();
        cluster.wait_until_ready(&cx(), &applied).await.unwrap();
        cluster.status(&cx(), &account.namespace.name).await.unwrap();
        cluster.restore(&cx(), &before).await.unwrap();
    });
}

#[test]
fn the_needs_of_a_request_are_enough_for_all_that_is_done_with_it() {
    runtime().block_on(async {
        let Some(account) = Account::new().await else { return };
        let folder = tempfile::tempdir().unwrap();
        let request = request(folder.path(), account.namespace());
        let administrator = account.servers.cluster().await;
        let needs = administrator.needs(&cx(), &request).await.unwrap();
        account.grant(&needs.rules("deployer", &account.subject())).await;
        let (connection, _) = account.connection().await;
        eventually_none(&needs, &connection).await;
        let cluster =
            KubernetesCluster::new(name("cluster"), connection).registry("127.0.0.1:5000").settle(Duration::ZERO);
        cluster.plan(&cx(), &request).await.unwrap();
        let before = cluster.status(&cx(), &account.namespace.name).await.unwrap().snapshot;
        let applied = cluster.apply(&cx(), &request).await.unwrap();
        assert_eq!(cluster.wait_until_ready(&cx(), &applied).await.unwrap(), RolloutState::Ready);
        let beside = ApplyRequest::new(request.workload.clone(), Placement::Beside { replicas: Some(0) });
        let candidate = cluster.apply(&cx(), &beside).await.unwrap();
        assert_eq!(cluster.wait_until_ready(&cx(), &candidate).await.unwrap(), RolloutState::Ready);
        cluster.shift(&cx(), &TrafficRequest::new(candidate, Traffic::Promote)).await.unwrap();
        // What left the manifests goes, and what is undone goes too.
        let fewer = MANIFEST.split("---").take(1).collect::<String>();
        fs::write(
            &request.workload.manifests[0],
            fewer.replace("envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: keys}}]", ""),
        )
        .unwrap();
        cluster.apply(&cx(), &request).await.unwrap();
        cluster.restore(&cx(), &before).await.unwrap();
    });
}

#[test]
fn a_plan_tells_every_right_that_is_missing_and_what_grants_them() {
    runtime().block_on(async {
        let Some(account) = Account::new().await else { return };
        let folder = tempfile::tempdir().unwrap();
        let request = request(folder.path(), account.namespace());
        let administrator = account.servers.cluster().await;
        let needs = administrator.needs(&cx(), &request).await.unwrap();
        let (connection, _) = account.connection().await;
        let cluster = KubernetesCluster::new(name("cluster"), connection.clone()).registry("127.0.0.1:5000");
        let error = cluster.plan(&cx(), &request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let report = error.report();
        for words in ["deployer", "patch deployments.apps in namespace", "create services", "kind: Role"] {
            assert!(report.contains(words), "no `{words}` in {report}");
        }
        // With what it takes to look, but not to write: the plan still fails, before anything is done.
        let reads: Needs = needs.iter().filter(|need| need.verb != "create").cloned().collect();
        account.grant(&reads.rules("deployer", &account.subject())).await;
        eventually_none(&reads, &connection).await;
        let report = cluster.plan(&cx(), &request).await.unwrap_err().report();
        assert!(report.contains("create services") && !report.contains("patch services"), "{report}");
        assert!(!report.contains("value-of-the-key"), "{report}");
    });
}

#[test]
fn the_rights_to_diagnose_are_enough() {
    runtime().block_on(async {
        let Some(account) = Account::new().await else { return };
        let needs = Needs::to_diagnose(account.namespace());
        account.grant(&needs.rules("deployer", &account.subject())).await;
        let (connection, _) = account.connection().await;
        eventually_none(&needs, &connection).await;
        let found = diagnose(&cx(), &connection, &Selection::all(account.namespace())).await.unwrap();
        assert_eq!((found.pods.why(), found.services.why(), found.events.why()), (None, None, None));
        assert!(found.left_out.is_empty(), "{:?}", found.left_out);
        assert!(found.usage.why().is_none_or(|why| why.contains("metrics")), "{:?}", found.usage);
        assert!(found.nodes.why().is_some_and(|why| why.contains("is forbidden")), "{:?}", found.nodes);
    });
}

#[test]
fn the_server_takes_the_network_policy() {
    runtime().block_on(async {
        let Some(account) = Account::new().await else { return };
        let labels = [("app".to_owned(), "deployer".to_owned())].into();
        let egress = [Egress::to("10.0.0.1", 6443), Egress::to("fd00::/8", 5000), Egress::Dns];
        let policy = network_policy("deployer", account.namespace(), labels, &egress).unwrap();
        let api = Api::<NetworkPolicy>::namespaced(account.client.clone(), account.namespace());
        let made = api.create(&PostParams::default(), &policy).await.unwrap();
        let spec = made.spec.unwrap();
        assert_eq!((spec.egress.unwrap().len(), spec.policy_types.unwrap().len()), (3, 2));
    });
}
