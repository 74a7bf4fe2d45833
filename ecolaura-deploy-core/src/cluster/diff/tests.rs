use super::*;
use crate::{
    cluster::desired::{EndpointPort, EnvVar, SecretValue},
    vocabulary::{Digest, PinnedImage, Repository, ServiceName},
};

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: EnvValue::Literal(value.into()) }
}

fn service() -> DesiredService {
    DesiredService {
        name: ServiceName::new("backend").unwrap(),
        replicas: 2,
        strategy: RolloutStrategy::RollingUpdate { max_surge: 1, max_unavailable: 0 },
        min_ready_seconds: 0,
        progress_deadline_seconds: 600,
        template: PodTemplate {
            image: PinnedImage::new(Repository::new("a/b").unwrap(), Digest::of("1")),
            command: None,
            args: None,
            env: vec![variable("LOG_LEVEL", "info"), variable("OLD", "x")],
            working_dir: None,
            ports: Vec::new(),
            readiness: None,
            liveness: None,
            startup: None,
            pre_stop: None,
            termination_grace_seconds: 30,
            annotations: BTreeMap::new(),
        },
        endpoints: vec![endpoint("web", 80)],
    }
}

fn endpoint(name: &str, port: u16) -> Endpoint {
    let ports = vec![EndpointPort { name: None, port, target: 8080 }];
    Endpoint { name: ServiceName::new(name).unwrap(), ports }
}

fn secret(value: &str) -> EnvVar {
    let value = SecretValue::new(value.into(), "s/k".into(), b"salt");
    EnvVar { name: "PASSWORD".into(), value: EnvValue::Secret(value) }
}

fn running(service: DesiredService) -> Current {
    Current { services: vec![CurrentService { revision: 4, service, candidate: None }] }
}

fn planned(service: DesiredService, current: &Current, placement: Placement) -> ClusterPlan {
    plan(&Desired::new(Name::new("dev").unwrap(), vec![service]), current, placement, Vec::new())
}

fn shown(plan: &ClusterPlan) -> Vec<String> {
    plan.changes.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_not_there_appears() {
    let plan = planned(service(), &Current::default(), Placement::Replace);
    assert_eq!(shown(&plan), ["+ cluster deployment dev/backend: not found", "+ cluster service dev/web: not found"]);
    assert_eq!((plan.found.as_str(), plan.services.len()), ("backend not there", 1));
}

#[test]
fn what_is_the_same_stays() {
    let plan = planned(service(), &running(service()), Placement::Replace);
    assert_eq!(shown(&plan), ["= cluster deployment dev/backend: unchanged", "= cluster service dev/web: unchanged"]);
    assert_eq!(plan.found, "backend revision 4");
}

#[test]
fn every_difference_is_a_line_and_secrets_are_not() {
    let mut old = service();
    old.template.env.push(secret("hunter2"));
    let mut new = service();
    new.replicas = 3;
    new.template.image.digest = Digest::of("2");
    old.template.env.push(variable("API_TOKEN", "hunter4"));
    new.template.env =
        vec![variable("LOG_LEVEL", "debug"), variable("NEW", "y"), secret("hunter3"), variable("API_TOKEN", "hunter5")];
    let plan = planned(new, &running(old), Placement::Replace);
    assert_eq!(plan.changes[0].to_string(), "~ cluster deployment dev/backend: new pods");
    let (one, two) = (Digest::of("1"), Digest::of("2"));
    let expected = [
        &format!("image {one} → {two}"),
        "replicas 2 → 3",
        "env OLD removed",
        "env API_TOKEN (redacted) changed",
        "env LOG_LEVEL info → debug",
        "env NEW added: y",
        "env PASSWORD (redacted) changed",
    ];
    assert_eq!(plan.changes[0].details, expected);
    assert!(!format!("{plan:?}").contains("hunter"));
}

#[test]
fn pods_stay_when_only_their_number_changes() {
    let new = DesiredService { replicas: 3, ..service() };
    let plan = planned(new, &running(service()), Placement::Replace);
    assert_eq!(plan.changes[0].to_string(), "~ cluster deployment dev/backend: same pods");
    assert_eq!(plan.changes[0].details, ["replicas 2 → 3"]);
}

#[test]
fn recreating_is_a_replacement() {
    let old = DesiredService { strategy: RolloutStrategy::Recreate, ..service() };
    let mut new = old.clone();
    new.template.image.digest = Digest::of("2");
    let plan = planned(new, &running(old), Placement::Replace);
    assert_eq!(plan.changes[0].action, Action::Replace);
}

#[test]
fn services_come_change_and_go() {
    let old = DesiredService { endpoints: vec![endpoint("a", 80), endpoint("b", 80)], ..service() };
    let new = DesiredService { endpoints: vec![endpoint("b", 81), endpoint("c", 80)], ..service() };
    let plan = planned(new, &running(old), Placement::Replace);
    assert_eq!(
        shown(&plan)[1..],
        [
            "- cluster service dev/a: no longer in the manifests",
            "~ cluster service dev/b: ports differ",
            "+ cluster service dev/c: not found"
        ]
    );
}

#[test]
fn every_difference_that_needs_new_pods_has_a_line() {
    let changes: [fn(&mut PodTemplate); 8] = [
        |template| template.env.reverse(),
        |template| template.working_dir = Some("/x".into()),
        |template| template.args = Some(vec!["x".into()]),
        |template| template.annotations = BTreeMap::from([("at".into(), "now".into())]),
        |template| template.pre_stop = Some(PreStop::Sleep { seconds: 1 }),
        |template| template.ports = vec![ContainerPort { name: None, number: 1 }],
        |template| template.termination_grace_seconds = 1,
        |template| template.image.repository = Repository::new("c/d").unwrap(),
    ];
    for change in changes {
        let mut new = service();
        change(&mut new.template);
        let plan = planned(new, &running(service()), Placement::Replace);
        assert_eq!((plan.changes[0].action, plan.changes[0].details.len()), (Action::Update, 1), "{plan:?}");
    }
}

#[test]
fn a_candidate_is_compared_with_the_candidate() {
    let beside = Placement::Beside { replicas: None };
    let mut current = running(service());
    let mut new = service();
    new.template.image.digest = Digest::of("2");
    let plan = planned(new.clone(), &current, beside);
    assert_eq!(shown(&plan), ["+ cluster candidate dev/backend: beside revision 4"]);
    current.services[0].candidate = Some((5, new.clone()));
    assert_eq!(shown(&planned(new, &current, beside)), ["= cluster candidate dev/backend: unchanged"]);
    let other = planned(service(), &current, beside);
    assert_eq!(other.changes[0].action, Action::Replace);
    assert_eq!(other.found, "backend revision 4 with candidate 5");
}
