//! What this crate and the examples pull in, as cargo resolves it.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails the test")]

use std::process::Command;

/// The names of the crates that a build of `package` compiles, with these features, for this machine.
fn crates(package: &str, features: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--offline", "--package", package, "--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}"])
        .args(features)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

fn found<'a>(crates: &'a [String], unwanted: &[&str], prefixes: &[&str]) -> Vec<&'a str> {
    let is_unwanted = |name: &&str| unwanted.contains(name) || prefixes.iter().any(|prefix| name.starts_with(prefix));
    crates.iter().map(String::as_str).filter(is_unwanted).collect()
}

const HTTP_AND_TLS: [&str; 10] =
    ["hyper", "hyper-util", "h2", "reqwest", "rustls", "openssl", "openssl-sys", "native-tls", "axum", "tonic"];
const CLOUDS: [&str; 3] = ["kube", "k8s-openapi", "ecolaura-deploy-k8s"];
const AWS: [&str; 2] = ["aws-", "ecolaura-deploy-aws"];

#[test]
fn cores_default_graph_has_no_http_tls_aws_or_kubernetes() {
    let crates = crates("ecolaura-deploy-core", &[]);
    assert!(crates.iter().any(|name| name == "tokio"), "this is not a tree: {crates:?}");
    assert_eq!(found(&crates, &HTTP_AND_TLS, &[]), [""; 0]);
    assert_eq!(found(&crates, &CLOUDS, &AWS), [""; 0]);
}

#[test]
fn the_examples_compile_neither_aws_nor_kubernetes_unless_asked() {
    let default = crates("ecolaura-deploy-examples", &[]);
    assert!(default.iter().any(|name| name == "ecolaura-deploy-core"), "this is not a tree: {default:?}");
    assert_eq!(found(&default, &CLOUDS, &AWS), [""; 0]);
    let asked = crates("ecolaura-deploy-examples", &["--features", "aws,k8s"]);
    assert!(found(&asked, &CLOUDS, &AWS).len() >= 2, "the names above find nothing: {asked:?}");
}

#[test]
fn sqlite_is_not_implied_by_the_embedded_default() {
    let crates = crates("ecolaura-deploy-core", &["--features", "local"]);
    assert_eq!(found(&crates, &["sqlx", "sqlx-sqlite", "libsqlite3-sys"], &[]), [""; 0]);
}
