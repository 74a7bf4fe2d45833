//! What to do next, by what is wrong.

use super::{Diagnosis, Health, PodReport, WorkloadReport};

/// The likely next steps, the most urgent first, each once.
pub(super) fn of(diagnosis: &Diagnosis) -> Vec<String> {
    let namespace = &diagnosis.selection.namespace;
    let broken = |health: Health| health <= Health::Waiting;
    let mut next: Vec<String> = Vec::new();
    let mut add = |hint: Option<String>| {
        if let Some(hint) = hint.filter(|hint| !next.contains(hint)) {
            next.push(hint);
        }
    };
    let workloads = diagnosis.workloads.iter();
    for workload in workloads.filter(|workload| workload.health == Health::Broken && workload.can_go_back) {
        add(Some(back(workload, namespace)));
    }
    let pods = diagnosis.pods.items().iter().filter(|pod| broken(pod.health));
    pods.map(|pod| pod.headline.as_str()).for_each(|headline| add(cause(headline)));
    let workloads = diagnosis.workloads.iter().filter(|workload| broken(workload.health));
    workloads.for_each(|workload| add(cause(&workload.headline)));
    for pod in diagnosis.pods.items().iter().filter(|pod| is_stuck(pod)) {
        add(Some(format!(
            "force it to end if its node is gone: kubectl -n {namespace} delete pod {} --force",
            pod.name
        )));
    }
    for service in diagnosis.services.items() {
        let unmatched = service.problem.as_deref().is_some_and(|problem| problem.starts_with("no pod has"));
        add(unmatched.then(|| format!("compare the selector of Service {} with the labels of the pods", service.name)));
    }
    for node in diagnosis.nodes.items().iter().filter(|node| node.health == Health::Broken) {
        add(Some(format!("look after node {}: its pods move after 5 minutes", node.name)));
    }
    next
}

fn is_stuck(pod: &PodReport) -> bool {
    pod.health == Health::Broken && pod.headline.starts_with("should have ended")
}

fn back(workload: &WorkloadReport, namespace: &str) -> String {
    format!(
        "go back to the version before: undo the run, or `ClusterTarget::restore` its snapshot, or kubectl -n {namespace} \
         rollout undo {}/{}",
        workload.kind.to_lowercase(),
        workload.name
    )
}

/// By the words of [`ecolaura_deploy_core::backend::FailureCause`].
fn cause(headline: &str) -> Option<String> {
    let hint = match headline.split_once(": ").map_or(headline, |(cause, _)| cause) {
        "crash loop" => {
            "read the log before the restart, and what changed: image, configuration, a dependency that is away"
        }
        "liveness probe fails" => "give the program longer to start (startupProbe), or find out why it hangs",
        "readiness probe fails" | "not ready" => {
            "see what the probe asks for, and whether what the program needs is up"
        }
        "image missing" => "check the image's name and digest, and the pull secret of its registry",
        "cannot start" => "check the command, and that the image is built for the node's architecture",
        "configuration missing" => "create the ConfigMap or Secret, or the key, that the message names",
        "out of memory" => "raise the memory limit, or find what holds so much",
        "unschedulable" => "add a node, or ask for less CPU or memory; see the taints and selectors in the message",
        "quota exceeded" => "raise the quota of the namespace, or ask for less",
        "admission denied" => "give the pods what the policy in the message asks for",
        "volume missing" => "see why the volume claim is not bound",
        _ => return None,
    };
    Some(hint.to_owned())
}
