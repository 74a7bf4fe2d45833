use std::{fmt::Write, path::Path};

use super::*;
use crate::{
    ErrorKind,
    cluster::desired::{Check, EnvValue, PodFacts, PreStop, RolloutStrategy},
    vocabulary::{Digest, Name, PinnedImage, Repository},
};

const BACKEND: &str = include_str!("tests/backend.yaml");

fn image(repository: &str) -> PinnedImage {
    PinnedImage::new(Repository::new(repository).unwrap(), Digest::of(repository))
}

fn workload(folder: &Path) -> Workload {
    Workload::new(Name::new("dev").unwrap(), [folder]).image("ecolaura/backend", image("ecolaura/backend"))
}

/// Reads `text` as the file `app.yaml`.
fn read_text(text: &str, change: impl FnOnce(Workload) -> Workload) -> Result<Reading> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.yaml"), text).unwrap();
    read_now(&change(workload(folder.path())), &Values::default(), b"salt").map_err(|error| {
        let prefix = format!("{}/", folder.path().display());
        Error::invalid("test", error.message().replace(&prefix, ""))
    })
}

fn good(text: &str) -> Reading {
    read_text(text, |workload| workload).unwrap()
}

fn problems(text: &str) -> String {
    read_text(text, |workload| workload).unwrap_err().message().to_owned()
}

/// The manifests with `from` replaced, which must be there.
fn edited(from: &str, to: &str) -> String {
    assert!(BACKEND.contains(from), "{from}");
    BACKEND.replacen(from, to, 1)
}

#[test]
fn a_deployment_is_read_whole() {
    let reading = good(BACKEND);
    let [service] = reading.desired.services.as_slice() else { panic!("{:?}", reading.desired) };
    assert_eq!((service.name.as_str(), service.replicas, service.min_ready_seconds), ("backend", 3, 1));
    assert_eq!(service.strategy, RolloutStrategy::RollingUpdate { max_surge: 1, max_unavailable: 0 });
    assert_eq!((service.progress_deadline_seconds, service.template.termination_grace_seconds), (60, 5));
    assert_eq!(service.template.image, image("ecolaura/backend"));
    let readiness = service.template.readiness.as_ref().unwrap();
    assert_eq!(readiness.check, Check::HttpGet { path: "/healthz".into(), port: 8080, headers: vec![] });
    assert_eq!((readiness.period_seconds, readiness.timeout_seconds, readiness.failure_threshold), (2, 1, 3));
    assert_eq!(service.template.liveness.as_ref().unwrap().check, Check::TcpSocket { port: 8080 });
    assert_eq!(service.template.pre_stop, Some(PreStop::Sleep { seconds: 1 }));
    let [endpoint] = service.endpoints.as_slice() else { panic!("{:?}", service.endpoints) };
    assert_eq!((endpoint.name.as_str(), endpoint.ports[0].port, endpoint.ports[0].target), ("backend", 80, 8080));
    assert!(reading.warnings.is_empty(), "{:?}", reading.warnings);
}

#[test]
fn a_process_gets_its_variables_expanded() {
    let service = good(BACKEND).desired.services.remove(0);
    let pod = PodFacts { ip: "127.0.1.2".into(), name: "backend-1".into(), namespace: "dev".into() };
    let input = service.template.resolve(&pod);
    let value = |name: &str| input.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(value("ADDRESS"), Some("127.0.1.2:8080"));
    assert_eq!(value("LOG_LEVEL"), Some("info"));
    assert_eq!(value("CFG_log-level"), Some("info"));
    assert_eq!(value("PASSWORD"), Some("hunter2"));
    assert_eq!(value("TOKEN"), Some("$(POD_IP)"), "what comes from a Secret is not expanded");
    assert_eq!((value("PORT"), value("POD")), (Some("8080"), Some("backend-1")));
    assert_eq!(input.args.as_deref(), Some(["--listen=127.0.1.2:8080".to_owned(), "$(NO)".to_owned()].as_slice()));
}

#[test]
fn secrets_never_print_and_never_enter_a_digest() {
    let reading = good(BACKEND);
    let shown = format!(
        "{reading:?} {:?}",
        reading.desired.services[0].template.resolve(&PodFacts {
            ip: "x".into(),
            name: "x".into(),
            namespace: "x".into(),
        })
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.yaml"), BACKEND).unwrap();
    let salted = |salt: &[u8]| read_now(&workload(folder.path()), &Values::default(), salt).unwrap().desired.digest;
    assert_eq!(salted(b"a"), salted(b"a"));
    assert_ne!(salted(b"a"), salted(b"b"), "without the salt a secret could be guessed from the digest");
}

#[test]
fn a_secret_of_a_store_takes_the_place_of_the_one_in_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.yaml"), BACKEND).unwrap();
    let read = |path: &str| {
        let values = Values([(path.to_owned(), Secret::new("from the store".to_owned()))].into());
        read_now(&workload(folder.path()), &values, b"salt")
    };
    let service = read("backend-secret/password").unwrap().desired.services.remove(0);
    let pod = PodFacts { ip: "127.0.1.2".into(), name: "backend-1".into(), namespace: "dev".into() };
    let env = service.template.resolve(&pod).env;
    assert!(env.contains(&("PASSWORD".to_owned(), "from the store".to_owned())));
    let problem = read("backend-secret/pasword").unwrap_err();
    assert!(problem.message().contains("`backend-secret/pasword` replaces nothing"), "{problem}");
    assert!(problem.message().contains("backend-secret/password"), "it suggests: {problem}");
}

#[test]
fn new_pods_come_exactly_from_what_is_in_them() {
    let service = |text: &str| good(text).desired.services.remove(0);
    let before = service(BACKEND);
    for (from, to, new_pods) in [
        ("replicas: 3", "replicas: 4", false),
        ("minReadySeconds: 1", "minReadySeconds: 2", false),
        ("port: 80\n", "port: 81\n", false),
        ("log-level: info", "log-level: debug", true),
        ("password: hunter2", "password: hunter3", true),
        ("path: /healthz", "path: /ready", true),
    ] {
        let after = service(&edited(from, to));
        assert_eq!(before.template_digest() != after.template_digest(), new_pods, "{to}");
        assert_ne!(before.digest(), after.digest(), "{to}");
    }
    assert_eq!(before.digest(), service(&edited("# A comment", "# Another")).digest());
}

#[test]
fn configuration_and_images_come_from_the_workload() {
    let replaced = read_text(BACKEND, |workload| workload.config("backend-config/log-level", "trace")).unwrap();
    let env = &replaced.desired.services[0].template.env;
    let level = env.iter().find(|variable| variable.name == "LOG_LEVEL").unwrap();
    assert_eq!(level.value, EnvValue::Literal("trace".into()));
    let error = read_text(BACKEND, |workload| workload.config("backend-config/log-levle", "trace")).unwrap_err();
    assert!(error.message().contains("did you mean `backend-config/log-level`?"), "{error}");
    let extra = read_text(BACKEND, |workload| workload.image("ecolaura/backends", image("x"))).unwrap();
    assert!(extra.warnings[0].contains("`ecolaura/backends` is given"), "{:?}", extra.warnings);
}

#[test]
fn every_problem_is_told_with_its_place() {
    let text = BACKEND
        .replacen("containerPort: 8080", "containerPort: http", 1)
        .replacen("replicas: 3", "replica: 3", 1)
        .replacen("key: log-level", "key: log_level", 1)
        .replacen("app: backend\n  ports", "app: frontend\n  ports", 1);
    let found = problems(&text);
    let lines: Vec<&str> = found.lines().collect();
    let expected = [
        "4 problems in the manifests:",
        "app.yaml, document 4, line 33: Deployment backend: `spec.replica` is not a field of Kubernetes; did you mean \
         `replicas`?",
        "app.yaml, document 4, line 57: Deployment backend: `spec.template.spec.containers[0].ports[0].containerPort` is \
         \"http\", expected a whole number from 1 to 65535",
        "app.yaml, document 4, line 75: Deployment backend: \
         `spec.template.spec.containers[0].env[3].valueFrom.configMapKeyRef` names the key `log_level`, which the \
         ConfigMap `backend-config` does not have; did you mean `log-level`?",
        "app.yaml, document 5, line 108: Service backend: `spec.selector` selects no Deployment; the labels of their pods \
         are: app: backend, tier: api",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn problems_name_what_to_do() {
    let sidecar = "        - name: sidecar\n          image: ecolaura/sidecar\n        - name: backend\n";
    for (from, to, expected) in [
        ("kind: Deployment", "kind: Deploymnet", "did you mean `Deployment`?"),
        ("kind: Deployment", "kind: StatefulSet", "only a Deployment is"),
        ("apiVersion: apps/v1", "apiVersion: v1", "`apiVersion` is \"v1\", expected `apps/v1`"),
        ("image: ecolaura/backend:dev", "image: ecolaura/backand:dev", "did you mean `ecolaura/backend`?"),
        ("image: ecolaura/backend:dev", "image: Ecolaura/b", "`spec.template.spec.containers[0].image` cannot be read"),
        ("        - name: backend\n", sidecar, "2 containers (sidecar, backend), expected one"),
        ("value: \"8080\"", "value: 8080", "is 8080, expected a text; put it in quotes"),
        ("targetPort: http", "targetPort: htpp", "did you mean `http`?"),
        (
            "name: backend-config\n                  key",
            "name: backend-confg\n                  key",
            "`backend-config`",
        ),
        ("tcpSocket:", "grpc:", "use `httpGet`, `tcpSocket` or `exec`"),
        ("fieldPath: status.podIP", "fieldPath: spec.nodeName", "expected `status.podIP`"),
        ("maxSurge: 25%", "maxSurge: lots", "expected a number of pods or a percentage"),
        ("type: RollingUpdate", "type: Recreate", "beside the type `Recreate`"),
        ("      tier: api\n  template", "      tier: web\n  template", "wants `tier: web`"),
        ("  name: backend\n  labels", "  name: Backend\n  labels", "`metadata.name` cannot be used"),
        ("minReadySeconds: 1", "minReadySeconds: 60", "`spec.progressDeadlineSeconds` (60) must be more than"),
        (
            "periodSeconds: 2",
            "periodSeconds: 0",
            "`spec.template.spec.containers[0].readinessProbe.periodSeconds` is 0",
        ),
        ("kind: Namespace", "kind: [", "cannot be read as YAML"),
        ("metadata:\n  name: backend-secret", "metadata:\n  name: backend-secret\n  namespace: prod", "`dev`, where"),
    ] {
        let found = problems(&edited(from, to));
        assert!(found.contains(expected) && found.contains("app.yaml, "), "{to}: {found}");
    }
}

#[test]
fn a_wrong_secret_is_not_shown() {
    for (from, to) in [("password: hunter2", "password: [hunter2]"), ("token: JChQT0RfSVAp", "token: hunter2!")] {
        let found = problems(&edited(from, to));
        assert!(found.contains("Secret backend-secret") && !found.contains("hunter2"), "{found}");
    }
}

#[test]
fn what_is_not_honoured_is_told() {
    let text = edited(
        "          workingDir: .\n",
        "          resources: {limits: {cpu: 1}}\n          volumeMounts: [{name: c, mountPath: /etc/c}]\n          \
         command: [serve, \"--bind=0.0.0.0:8080\", \"--api=http://backend.dev.svc:80/x\"]\n",
    )
    .replacen(
        "    spec:\n      terminationGrace",
        "    spec:\n      hostNetwork: true\n      hostPID: false\n      volumes: []\n      terminationGrace",
        1,
    ) + "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\n";
    let warnings = good(&text).warnings.join("\n");
    for expected in [
        "`spec.template.spec.hostNetwork` is not honoured: each pod has its own loopback address",
        "`spec.template.spec.containers[0].resources` is not honoured: the process has no limits",
        "`spec.template.spec.containers[0].volumeMounts[0]` is not honoured: nothing is mounted at `/etc/c`",
        "`spec.template.spec.containers[0].command[1]` \"--bind=0.0.0.0:8080\" binds all addresses",
        "`spec.template.spec.containers[0].command[2]` \"--api=http://backend.dev.svc:80/x\" names the Service `backend`",
        "Ingress web is not honoured",
    ] {
        assert!(warnings.contains(expected), "{expected}\nis not in\n{warnings}");
    }
    assert_eq!(warnings.lines().count(), 6, "{warnings}");
}

#[test]
fn duplicates_name_both_places() {
    let found = problems(&format!("{BACKEND}---\n{BACKEND}"));
    assert!(found.contains("Deployment backend is there already, in app.yaml, document 4"), "{found}");
}

#[test]
fn json_and_lists_are_manifests_too() {
    let folder = tempfile::tempdir().unwrap();
    let list = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [
        {\"apiVersion\": \"apps/v1\", \"kind\": \"Deployment\", \"metadata\": {\"name\": \"backend\"}, \"spec\": {
            \"selector\": {\"matchLabels\": {\"app\": \"b\"}}, \"template\": {\"metadata\": {\"labels\": {\"app\": \"b\"}},
            \"spec\": {\"containers\": [{\"name\": \"b\", \"image\": \"ecolaura/backend\"}]}}}},
        {\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"web\"},
            \"spec\": {\"selector\": {\"app\": \"b\"}, \"ports\": [{\"port\": 80}]}}]}";
    std::fs::write(folder.path().join("app.json"), list).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a manifest: [").unwrap();
    let reading = read_now(&workload(folder.path()), &Values::default(), b"").unwrap();
    let service = &reading.desired.services[0];
    assert_eq!((service.replicas, service.endpoints[0].ports[0].target), (1, 80));
    assert_eq!(service.strategy, RolloutStrategy::RollingUpdate { max_surge: 1, max_unavailable: 0 });
}

#[test]
fn missing_and_empty_paths_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = read_now(&workload(folder.path()), &Values::default(), b"").unwrap_err();
    assert!(empty.message().contains(folder.path().to_str().unwrap()), "{empty}");
    let gone = read_now(&workload(&folder.path().join("gone.yaml")), &Values::default(), b"").unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(gone.message().contains("gone.yaml"), "{gone}");
}

#[test]
fn pipes_and_devices_are_no_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&pipe, Path::new("/dev/zero")] {
        let error = read_now(&workload(path), &Values::default(), b"").unwrap_err();
        assert!(error.report().contains("neither a file nor a folder"), "{}", error.report());
    }
}

#[test]
fn many_problems_are_counted() {
    let mut text = BACKEND.to_owned();
    for number in 0..150 {
        writeln!(text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number}, nane: x}}").unwrap();
    }
    let found = problems(&text);
    assert!(found.starts_with("150 problems"), "{found}");
    assert_eq!((found.lines().count(), found.lines().last()), (102, Some("and 50 more")));
}
