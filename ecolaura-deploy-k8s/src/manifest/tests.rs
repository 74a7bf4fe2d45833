use ecolaura_deploy_core::vocabulary::{Name, PinnedImage, Repository};
use tempfile::tempdir;

use super::*;

const APP: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: web-config}
data: {greeting: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: web-secrets}
stringData: {token: hunter2hunter2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
        - {name: first, image: 'shop/web:v1'}
      containers:
        - name: web
          image: shop/web
          envFrom: [{secretRef: {name: web-secrets}}]
          env: [{name: GREETING, valueFrom: {configMapKeyRef: {name: web-config, key: greeting}}}]
      volumes:
        - {name: all, projected: {sources: [{configMap: {name: web-config}}, {secret: {name: web-secrets}}]}}
        - {name: other, configMap: {name: elsewhere}}
";

fn image() -> PinnedImage {
    PinnedImage::new(Repository::new("shop/web").unwrap(), Digest::of("v1"))
}

fn workload(files: &[&str]) -> (tempfile::TempDir, Workload) {
    let folder = tempdir().unwrap();
    for (index, text) in files.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{index}.yaml")), text).unwrap();
    }
    let workload = Workload::new(Name::new("dev").unwrap(), [folder.path()]).image("shop/web", image());
    (folder, workload)
}

fn read_text(text: &str, surroundings: &Surroundings) -> Result<Reading> {
    let (_folder, workload) = workload(&[text]);
    read_now(&workload, surroundings, &Redactor::new())
}

fn find<'a>(reading: &'a Reading, kind: &str) -> &'a Wanted {
    reading.objects.iter().find(|object| object.key.kind == kind).unwrap()
}

#[test]
fn pods_get_images_by_digest_and_configuration_by_content() {
    let surroundings = Surroundings { registry: Some("registry:5000".to_owned()), ..Surroundings::default() };
    let reading = read_text(APP, &surroundings).unwrap();
    let (map, secret) = (find(&reading, "ConfigMap"), find(&reading, "Secret"));
    assert!(map.versioned && secret.versioned && map.key.name.starts_with("web-config-"));
    assert_eq!(map.title, "ConfigMap dev/web-config");
    assert_eq!(map.json["immutable"], true);
    let pod = &find(&reading, "Deployment").json["spec"]["template"]["spec"];
    let pinned = format!("registry:5000/{}", image());
    assert_eq!(
        (pod["containers"][0]["image"].as_str(), pod["initContainers"][0]["image"].as_str()),
        (Some(&*pinned), Some(&*pinned))
    );
    assert_eq!(pod.pointer("/containers/0/env/0/valueFrom/configMapKeyRef/name"), Some(&json!(map.key.name)));
    assert_eq!(pod.pointer("/containers/0/envFrom/0/secretRef/name"), Some(&json!(secret.key.name)));
    assert_eq!(pod.pointer("/volumes/0/projected/sources/0/configMap/name"), Some(&json!(map.key.name)));
    assert_eq!(pod.pointer("/volumes/0/projected/sources/1/secret/name"), Some(&json!(secret.key.name)));
    assert_eq!(pod.pointer("/volumes/1/configMap/name"), Some(&json!("elsewhere")), "it is not of this workload");
    assert_eq!(reading.services, [ServiceName::new("web").unwrap()]);
}

#[test]
fn the_name_of_a_secret_says_nothing_without_the_salt() {
    let name = |salt: &str| {
        let surroundings = Surroundings { salt: salt.as_bytes().to_vec(), ..Surroundings::default() };
        let reading = read_text(APP, &surroundings).unwrap();
        (find(&reading, "Secret").key.name.clone(), find(&reading, "ConfigMap").key.name.clone())
    };
    let (one, other) = (name("a"), name("b"));
    assert_eq!(one, name("a"));
    assert_ne!(one.0, other.0);
    assert_eq!(one.1, other.1, "a ConfigMap is no secret");
}

#[test]
fn values_of_secrets_are_taken_out_of_texts() {
    let (_folder, workload) = workload(&[APP]);
    let redactor = Redactor::new();
    read_now(&workload, &Surroundings::default(), &redactor).unwrap();
    assert_eq!(redactor.redact("token=hunter2hunter2"), "token=[redacted]");
}

#[test]
fn what_an_environment_sets_replaces_entries() {
    let (_folder, workload) = workload(&[APP]);
    let reference = ecolaura_deploy_core::SecretRef::new(Name::new("store").unwrap(), "token", "1");
    let workload = workload.config("web-config/greeting", "welcome").secret("web-secrets/token", reference);
    let secrets = [("web-secrets/token".to_owned(), Secret::new("from the store".to_owned()))].into();
    let surroundings = Surroundings { secrets, ..Surroundings::default() };
    let reading = read_now(&workload, &surroundings, &Redactor::new()).unwrap();
    assert_eq!(find(&reading, "ConfigMap").json["data"]["greeting"], "welcome");
    assert_eq!(find(&reading, "Secret").json["data"]["token"], "ZnJvbSB0aGUgc3RvcmU=");
    let wrong = workload.config("web-config/greting", "x");
    let error = read_now(&wrong, &surroundings, &Redactor::new()).unwrap_err().report();
    assert!(error.contains("web-config/greting") && error.contains("did you mean `web-config/greeting`?"), "{error}");
}

#[test]
fn names_are_kept_where_something_else_uses_them_or_it_is_asked_for() {
    let annotated = APP.replace(
        "metadata: {name: web-config}",
        "metadata: {name: web-config, annotations: {deploy.ecolaura.io/versioned: 'false'}}",
    );
    let reading = read_text(&annotated, &Surroundings::default()).unwrap();
    assert_eq!(find(&reading, "ConfigMap").key.name, "web-config");
    let ingress = format!(
        "{APP}---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web}}\nspec: {{tls: [{{secretName: web-secrets}}]}}\n"
    );
    let reading = read_text(&ingress, &Surroundings::default()).unwrap();
    assert_eq!(find(&reading, "Secret").key.name, "web-secrets");
    let unused = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: alone}\ndata: {a: b}\n";
    assert_eq!(find(&read_text(unused, &Surroundings::default()).unwrap(), "ConfigMap").key.name, "alone");
}

#[test]
fn templates_stand_in_other_kinds_too() {
    let job = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: shop/web}]}}}}}\n";
    let worker = "apiVersion: example.com/v1\nkind: Worker\nmetadata: {name: w}\nspec: {pod: {spec: {containers: [{name: a, image: shop/web}]}}}\n";
    let templates = Templates([("example.com/Worker".to_owned(), vec!["spec.pod".to_owned()])].into());
    let reading =
        read_text(&format!("{job}---\n{worker}"), &Surroundings { templates, ..Surroundings::default() }).unwrap();
    let image = json!(image().to_string());
    assert_eq!(
        find(&reading, "CronJob").json.pointer("/spec/jobTemplate/spec/template/spec/containers/0/image"),
        Some(&image)
    );
    assert_eq!(find(&reading, "Worker").json.pointer("/spec/pod/spec/containers/0/image"), Some(&image));
}

#[test]
fn every_problem_is_told_with_its_place() {
    let first = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: prod}\n---\nkind: Service\nmetadata: {}\n---\njust text\n";
    let second = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: shop/wep}, {name: b}]}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {token: hunter2!}\n";
    let (folder, workload) = workload(&[first, second]);
    let error = read_now(&workload, &Surroundings::default(), &Redactor::new()).unwrap_err().report();
    let prefix = format!("{}/", folder.path().display());
    let error = error.replace(&prefix, "");
    for expected in [
        "0.yaml, document 1, line 3: Service web: `metadata.namespace` is \"prod\", expected `dev`",
        "0.yaml, document 2, line 5: Service: `apiVersion` is missing",
        "0.yaml, document 2, line 5: Service: `metadata.name` is missing",
        "0.yaml, document 3, line 8 is \"just text\", expected an object of Kubernetes",
        "1.yaml, document 1, line 1: Service web is there already, in 0.yaml, document 1",
        "1.yaml, document 2, line 8: Pod p: `spec.containers[0].image` is `shop/wep`",
        "did you mean `shop/web`?",
        "`spec.containers[1].image` is missing",
        "1.yaml, document 3: Secret s: `data.token` is not base64",
    ] {
        assert!(error.contains(expected), "`{expected}` is not in\n{error}");
    }
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn what_the_server_says_is_left_out() {
    let exported = "apiVersion: v1\nkind: Service\nmetadata: {name: web, uid: '1', resourceVersion: '7', creationTimestamp: null}\nstatus: {loadBalancer: {}}\n";
    let reading = read_text(exported, &Surroundings::default()).unwrap();
    let json = &find(&reading, "Service").json;
    assert!(json.get("status").is_none() && json.pointer("/metadata/uid").is_none(), "{json}");
    assert_eq!(reading.warnings.iter().filter(|warning| warning.contains("is the server's to say")).count(), 2);
}
