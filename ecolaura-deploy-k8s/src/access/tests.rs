use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::*;
use crate::{
    Connect,
    fake_server::{Answer, Asked, FakeServer},
};

fn of(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}

fn subject() -> Subject {
    Subject::service_account("ci", "deployer")
}

/// The rules as `group resources [names]: verbs`.
fn lines(rules: &Value) -> Vec<String> {
    let list = |value: &Value| {
        let items = value.as_array().into_iter().flatten();
        items.map(|item| item.as_str().unwrap()).collect::<Vec<_>>().join(",")
    };
    let line = |rule: &Value| {
        let names = if rule["resourceNames"].is_null() {
            String::new()
        } else {
            format!(" [{}]", list(&rule["resourceNames"]))
        };
        format!("{} {}{names}: {}", list(&rule["apiGroups"]), list(&rule["resources"]), list(&rule["verbs"]))
    };
    rules.as_array().unwrap().iter().map(line).collect()
}

#[test]
fn a_plan_becomes_the_least_rules() {
    let (deployments, services, jobs) =
        (of("apps", "Deployment", "deployments"), of("", "Service", "services"), of("batch", "Job", "jobs"));
    let (definitions, maps) = (
        of("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions"),
        of("", "ConfigMap", "configmaps"),
    );
    let needs = Needs::of([
        (&deployments, Some("shop"), ["patch", "get", "create"].as_slice()),
        (&deployments, Some("shop"), &["get", "delete"]),
        (&services, Some("shop"), &["create", "get"]),
        (&maps, Some("shop"), &["get", "create"]),
        (&jobs, Some("audit"), &["get"]),
        (&definitions, None, &["get"]),
    ]);
    let rules = needs.rules("deployer", &subject());
    let objects = rules.objects();
    let named: Vec<String> = objects
        .iter()
        .map(|object| {
            format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["namespace"].as_str().unwrap_or("-"))
        })
        .collect();
    let expected =
        ["Role audit", "RoleBinding audit", "Role shop", "RoleBinding shop", "ClusterRole -", "ClusterRoleBinding -"];
    assert_eq!(named, expected);
    assert_eq!(lines(&objects[0]["rules"]), ["batch jobs: get"]);
    assert_eq!(
        lines(&objects[2]["rules"]),
        [" configmaps,services: get,create", "apps deployments: get,create,patch,delete"]
    );
    assert_eq!(lines(&objects[4]["rules"]), ["apiextensions.k8s.io customresourcedefinitions: get"]);
    assert_eq!(objects[3]["subjects"], json!([{"kind": "ServiceAccount", "name": "deployer", "namespace": "ci"}]));
    assert_eq!(
        objects[5]["roleRef"],
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "deployer"})
    );
    // The order of the plan does not matter.
    let again: Needs = needs.clone().into_iter().collect::<Vec<_>>().into_iter().rev().collect();
    assert_eq!(again.rules("deployer", &subject()), rules);
    assert_eq!(rules.to_string().matches("\n---\n").count(), 5);
}

#[test]
fn names_are_kept_apart_from_any() {
    let secret = |verb: &str, name: &str| Need::new(verb, "", "secrets").within("shop").named(name);
    let needs: Needs = [
        secret("get", "a"),
        secret("get", "b"),
        secret("create", "a"),
        Need::new("get", "", "configmaps").within("shop"),
        Need::new("get", "", "configmaps").within("shop").named("c"),
        Need::new("get", "", "pods").subresource("log").within("shop"),
    ]
    .into_iter()
    .collect();
    let objects = needs.rules("r", &subject()).objects();
    assert_eq!(
        lines(&objects[0]["rules"]),
        [" configmaps,pods/log: get", " secrets: create", " secrets [a,b]: get"],
        "creating has no name, and what any name covers needs no rule of its own"
    );
}

#[test]
fn what_the_whole_cluster_grants_is_not_granted_again() {
    let needs: Needs = [
        Need::new("list", "", "pods"),
        Need::new("list", "", "pods").within("shop"),
        Need::new("get", "", "pods").within("shop"),
    ]
    .into_iter()
    .collect();
    let objects = needs.rules("r", &subject()).objects();
    assert_eq!(lines(&objects[0]["rules"]), [" pods: get"]);
    assert_eq!(lines(&objects[2]["rules"]), [" pods: list"]);
}

#[test]
fn the_crates_own_needs_do_not_read_all_secrets() {
    let verbs = |needs: &Needs, resource: &str| {
        let of = needs.iter().filter(|need| need.resource == resource);
        of.map(|need| need.verb.clone()).collect::<Vec<_>>()
    };
    let deploy = Needs::to_deploy("shop");
    assert_eq!(verbs(&deploy, "secrets"), ["create", "delete", "get", "patch"]);
    assert!(deploy.iter().all(|need| need.namespace.as_deref() == Some("shop")));
    let writes = |need: &&Need| !["get", "list", "watch"].contains(&need.verb.as_str());
    assert_eq!(Needs::to_diagnose("shop").iter().find(writes), None);
}

/// A server that refuses what `refused` names.
async fn server(refused: fn(&Value) -> bool) -> FakeServer {
    FakeServer::start(move |asked: &Asked| match asked.path.as_str() {
        "/version" => Answer::json(&json!({
            "major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "", "gitTreeState": "", "buildDate": "",
            "goVersion": "", "compiler": "", "platform": "",
        })),
        path if path.ends_with("selfsubjectreviews") => Answer::json(&json!({
            "metadata": {}, "status": {"userInfo": {"username": "system:serviceaccount:ci:deployer"}},
        })),
        _ => {
            let attributes = &asked.body["spec"]["resourceAttributes"];
            let allowed = attributes["verb"] != "*" && !refused(attributes);
            Answer::json(&json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed, "reason": ""}}))
        }
    })
    .await
}

async fn missing(server: &FakeServer, needs: &Needs) -> Option<Missing> {
    let cx = ecolaura_deploy_core::Context::new("dev".parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": server.url()}}],
    });
    let file = folder.path().join("config");
    std::fs::write(&file, config.to_string()).unwrap();
    let connection = Connect::kubeconfig(file).connect(&cx).await.unwrap();
    needs.missing(&cx, &connection, "deployer").await.unwrap()
}

#[tokio::test]
async fn all_missing_rights_are_told_at_once_with_the_rule() {
    let server = server(|asked| asked["verb"] == "create" || asked["resource"] == "secrets").await;
    let needs: Needs = [
        Need::new("get", "apps", "deployments").within("shop"),
        Need::new("create", "apps", "deployments").within("shop"),
        Need::new("get", "", "secrets").within("shop").named("token"),
        Need::new("create", "", "namespaces"),
    ]
    .into_iter()
    .collect();
    let missing = missing(&server, &needs).await.unwrap();
    let refused: Vec<String> = missing.refusals.iter().map(|refusal| refusal.need.to_string()).collect();
    let expected = [
        "create namespaces in the whole cluster",
        "get secrets `token` in namespace `shop`",
        "create deployments.apps in namespace `shop`",
    ];
    assert_eq!(refused, expected);
    let text = missing.to_string();
    assert!(text.starts_with("`system:serviceaccount:ci:deployer` may not:\n  create namespaces"), "{text}");
    let rules = &missing.rules;
    assert_eq!(rules.roles[0].1.subjects.as_ref().unwrap()[0].kind, "ServiceAccount");
    assert_eq!(lines(&rules.objects()[0]["rules"]), [" secrets [token]: get", "apps deployments: create"]);
    let error = missing.into_error();
    assert_eq!(error.kind(), ecolaura_deploy_core::ErrorKind::PermissionDenied);
    let report = error.report();
    for words in [expected[0], expected[1], expected[2], "kind: ClusterRole\n", "resourceNames:"] {
        assert!(report.contains(words), "no `{words}` in {report}");
    }
}

#[tokio::test]
async fn who_may_do_everything_is_asked_little() {
    let none = server(|_| false).await;
    assert_eq!(missing(&none, &Needs::to_deploy("shop")).await, None);
    assert_eq!(none.asked().len(), 1 + Needs::to_deploy("shop").iter().count());

    let all =
        FakeServer::start(|_| Answer::json(&json!({"metadata": {}, "spec": {}, "status": {"allowed": true}}))).await;
    assert_eq!(missing(&all, &Needs::to_deploy("shop")).await, None);
    assert_eq!(all.asked().len(), 1, "an administrator is told apart by one question");
    assert_eq!(missing(&all, &Needs::default()).await, None);
    assert_eq!(all.asked().len(), 1);
}

#[test]
fn a_network_policy_lets_out_only_what_it_names() {
    let labels = || [("app".to_owned(), "deployer".to_owned())].into();
    let egress = [Egress::to("10.0.0.1", 6443), Egress::to("fd00::/8", 5000), Egress::Dns];
    let policy = serde_json::to_value(network_policy("deployer", "ci", labels(), &egress).unwrap()).unwrap();
    let spec = &policy["spec"];
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(spec["ingress"], json!([]));
    assert_eq!(
        spec["egress"][0],
        json!({
            "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [{"protocol": "TCP", "port": 6443}],
        })
    );
    assert_eq!(spec["egress"][1]["to"][0]["ipBlock"]["cidr"], "fd00::/8");
    assert_eq!(spec["egress"][2]["ports"].as_array().unwrap().len(), 2);
    for network in ["registry.example.org", "10.0.0.0/33", "10.0.0.0/x", "", "fd00::/129"] {
        let error = network_policy("deployer", "ci", labels(), &[Egress::to(network, 1)]).unwrap_err();
        assert!(error.report().contains(&format!("`{network}` is no network")), "{}", error.report());
    }
}
