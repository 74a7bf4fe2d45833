//! What is wrong with a kubeconfig, or must be allowed first.

use super::*;

const SERVER: &str = "https://cluster.example.org:6443";

fn server() -> serde_json::Value {
    json!({"server": SERVER})
}

#[tokio::test]
async fn a_program_runs_only_if_it_is_allowed() {
    let exec = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "steal", "args": ["all"]}});
    let folder = Folder::new(server(), exec);
    let error = fails(folder.connect()).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    says(&error.report(), &["`steal`", "config", "context: dev", "user: u", "allow_exec(\"steal\")"]);
    assert_eq!(fails(folder.connect().allow_exec("aws")).await.kind(), ErrorKind::PermissionDenied);
    folder.connect().allow_exec("steal").connect(&cx()).await.unwrap();
}

#[tokio::test]
async fn an_auth_provider_is_never_used() {
    let folder = Folder::new(server(), json!({"auth-provider": {"name": "gcp", "config": {"cmd-path": "steal"}}}));
    let error = fails(folder.connect().allow_exec("steal")).await;
    says(&error.report(), &["`auth-provider`", "user: u", "`exec`"]);
}

#[tokio::test]
async fn certificates_are_checked_unless_allowed_otherwise() {
    let folder = Folder::new(json!({"server": SERVER, "insecure-skip-tls-verify": true}), json!({}));
    let error = fails(folder.connect()).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    says(&error.report(), &["insecure-skip-tls-verify", "cluster: c", "certificate-authority", "allow_insecure_tls"]);
    folder.connect().allow_insecure_tls().connect(&cx()).await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_this_machine_or_allowed() {
    for server in ["http://cluster.example.org", "http://10.0.0.1:8080"] {
        let folder = Folder::new(json!({"server": server}), json!({}));
        let error = fails(folder.connect()).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        says(&error.report(), &[server, "context `dev`", "allow_plain_http"]);
        folder.connect().allow_plain_http().connect(&cx()).await.unwrap();
    }
    for server in ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"] {
        Folder::new(json!({"server": server}), json!({})).connect().connect(&cx()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_place() {
    let cases: [(serde_json::Value, serde_json::Value, &[&str]); 11] = [
        (json!({}), json!({}), &["no `server`", "cluster: c"]),
        (json!({"server": "cluster:6443"}), json!({}), &["https://host:port"]),
        (json!({"server": "ftp://cluster"}), json!({}), &["neither https nor http"]),
        (json!({"server": "https://me:hunter2-hunter2@cluster"}), json!({}), &["user or a password"]),
        (json!({"server": SERVER, "certificate-authority-data": "?"}), json!({}), &["not base64", "cluster: c"]),
        (json!({"server": SERVER, "certificate-authority-data": "aGVsbG8="}), json!({}), &["no certificate in PEM"]),
        (json!({"server": SERVER, "certificate-authority": "missing.pem"}), json!({}), &["missing.pem", "cluster: c"]),
        (server(), json!({"client-certificate-data": "aGVsbG8="}), &["no `client-key`", "user: u"]),
        (server(), json!({"client-key": "key.pem"}), &["key.pem", "client-key", "user: u"]),
        (json!({"server": SERVER, "proxy-url": "socks5://me:hunter2-hunter2@proxy"}), json!({}), &["`socks5`"]),
        (json!({"server": SERVER, "proxy-url": "::"}), json!({}), &["proxy's address"]),
    ];
    for (cluster, user, words) in cases {
        let folder = Folder::new(cluster.clone(), user);
        let report = fails(folder.connect()).await.report();
        says(&report, words);
        says(&report, &["config"]);
        assert!(!report.contains("hunter2"), "{report}");
    }
}

#[tokio::test]
async fn contexts_clusters_and_users_that_are_not_there() {
    let folder = Folder::new(server(), json!({}));
    let error = fails(folder.connect().context("production")).await;
    says(&error.report(), &["no context `production`", "config", "there are: dev"]);
    for (part, words) in [("clusters", "cluster: c"), ("users", "user: u")] {
        let mut config = config(server(), json!({}));
        config[part] = json!([]);
        folder.write("config", &config.to_string());
        says(&fails(folder.connect()).await.report(), &["that is not there", words, "context: dev"]);
    }
    folder.write("config", "{}");
    says(&fails(folder.connect()).await.report(), &["no current context"]);
}

#[tokio::test]
async fn a_file_that_is_no_kubeconfig_is_not_quoted() {
    let folder = Folder::new(server(), json!({}));
    folder.write("config", "users:\n- name: u\n  user: {token: hunter2-hunter2\nclusters: [");
    let error = fails(folder.connect()).await;
    says(&error.report(), &["no kubeconfig", "config", "line: "]);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    folder.write("config", "users:\n- name: u\n  user: {token: [hunter2-hunter2]}");
    assert!(!format!("{:?}", fails(folder.connect()).await).contains("hunter2"));
}

#[tokio::test]
async fn files_of_the_process_are_looked_for() {
    let folder = Folder::new(server(), json!({}));
    let missing = folder.path("missing");
    let default = Connect::default_kubeconfig;
    let error = fails(with(default(), &[("KUBECONFIG", missing.to_str().unwrap())])).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    says(&error.report(), &["missing", "KUBECONFIG"]);

    let second = folder.write("second", &{
        let mut second = config(json!({"server": "https://second"}), json!({}));
        second["contexts"][0]["name"] = json!("two");
        second["contexts"][0]["context"]["cluster"] = json!("two");
        second["clusters"][0]["name"] = json!("two");
        second.to_string()
    });
    let list = std::env::join_paths([missing, folder.path("config"), second]).unwrap();
    let list = list.to_str().unwrap();
    let first = with(default(), &[("KUBECONFIG", list)]).connect(&cx()).await.unwrap();
    assert_eq!((first.server(), first.namespace()), (SERVER, "shop"));
    let second = with(default(), &[("KUBECONFIG", list)]).context("two").connect(&cx()).await.unwrap();
    assert_eq!(second.server(), "https://second");

    fs::create_dir(folder.path(".kube")).unwrap();
    folder.write(".kube/config", &config(json!({"server": "https://home"}), json!({})).to_string());
    let home = with(default(), &[("HOME", folder.0.path().to_str().unwrap())]).connect(&cx()).await.unwrap();
    assert_eq!(home.server(), "https://home");
}

#[tokio::test]
async fn credentials_that_others_can_read_are_warned_of() {
    let folder = Folder::new(server(), json!({"tokenFile": "token"}));
    let token = folder.write("token", "t");
    assert_eq!(folder.connect().connect(&cx()).await.unwrap().warnings(), []);
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    // The kubeconfig itself holds no secret here.
    fs::set_permissions(folder.path("config"), fs::Permissions::from_mode(0o644)).unwrap();
    let connection = folder.connect().connect(&cx()).await.unwrap();
    assert_eq!(connection.warnings(), [Warning { file: token.clone(), mode: 0o644 }]);
    says(&connection.warnings()[0].to_string(), &["mode 644", "chmod 600"]);

    let folder = Folder::new(server(), json!({"token": "hunter2-hunter2"}));
    fs::set_permissions(folder.path("config"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(folder.connect().connect(&cx()).await.unwrap().warnings().len(), 1);
}

#[tokio::test]
async fn outside_a_pod_there_is_no_pods_account() {
    let error = fails(alone(Connect::in_cluster())).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    says(&error.report(), &["KUBERNETES_SERVICE_HOST", "kubeconfig"]);
    let variables = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
    says(&fails(with(Connect::in_cluster(), &variables)).await.report(), &["/nowhere/namespace"]);
}

#[tokio::test]
async fn secrets_are_in_no_debug_text_and_known_to_the_redactor() {
    let cluster = json!({"server": SERVER, "proxy-url": "http://me:pr0xy-passw0rd@proxy:3128"});
    let folder = Folder::new(cluster, json!({"token": "hunter2-hunter2"}));
    let cx = cx();
    let connect = folder.connect();
    let text = format!("{connect:?}");
    let connection = connect.connect(&cx).await.unwrap();
    for text in [text, format!("{connection:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("pr0xy"), "{text}");
    }
    let clean = cx.redactor().redact("Bearer hunter2-hunter2 by pr0xy-passw0rd").into_owned();
    assert_eq!(clean, "Bearer [redacted] by [redacted]");
}
