//! The one container of a pod.

use super::{
    Surroundings,
    env::{self, PodMetadata},
    probe,
};
use crate::{
    cluster::desired::{ContainerPort, PodTemplate},
    manifest::{Field, suggestion},
    vocabulary::{ImageReference, PinnedImage},
};

/// The container of a pod, if there is exactly one.
pub(super) fn only<'a>(spec: &Field<'a>) -> Option<Field<'a>> {
    for key in ["initContainers", "ephemeralContainers"] {
        if let Some(field) = spec.get(key).filter(|field| field.items().next().is_some()) {
            let names: Vec<_> = field.items().filter_map(|item| item.text_of("name")).collect();
            field.problem(format!("({}) is not supported here: a pod is one process", names.join(", ")));
        }
    }
    let containers = spec.get("containers")?;
    let mut items: Vec<_> = containers.items().collect();
    if items.len() > 1 {
        let names: Vec<_> = items.iter().filter_map(|item| item.text_of("name")).collect();
        containers.problem(format!(
            "are {} containers ({}), expected one: a pod is one process here; make each a Deployment",
            items.len(),
            names.join(", ")
        ));
    } else if items.is_empty() {
        containers.problem("is empty, expected a container");
    }
    (items.len() == 1).then(|| items.remove(0))
}

/// What the pods are made of; `None` if there is no image, which was noted.
pub(super) fn template(
    spec: &Field<'_>,
    container: &Field<'_>,
    ports: &[ContainerPort],
    pod: PodMetadata,
    surroundings: &Surroundings<'_>,
) -> Option<PodTemplate> {
    let texts = |key: &str| {
        let words = container.list(key);
        words.iter().for_each(|word| env::addresses(word, word.text().unwrap_or_default(), surroundings));
        container.texts_of(key)
    };
    mounts(container);
    Some(PodTemplate {
        command: texts("command"),
        args: texts("args"),
        env: env::read(container, &pod, surroundings),
        working_dir: container.text_of("workingDir").map(str::to_owned),
        ports: ports.to_vec(),
        readiness: probe::read(container, "readinessProbe", ports),
        liveness: probe::read(container, "livenessProbe", ports),
        startup: probe::read(container, "startupProbe", ports),
        pre_stop: probe::pre_stop(container, ports),
        termination_grace_seconds: spec.number_of("terminationGracePeriodSeconds").unwrap_or(30),
        annotations: pod.annotations,
        // Last: everything above is looked at even without an image.
        image: image(container, surroundings)?,
    })
}

/// The repository that the container names.
pub(super) fn repository(container: &Field<'_>) -> Option<String> {
    let reference: ImageReference = container.text_of("image")?.parse().ok()?;
    Some(reference.repository.to_string())
}

fn image(container: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<PinnedImage> {
    let field = container.get("image")?;
    if let Err(error) = field.text()?.parse::<ImageReference>() {
        field.problem(format!("cannot be read: {error}"));
        return None;
    }
    let images = &surroundings.workload.images;
    let repository = repository(container)?;
    let found = images.get(&repository);
    if found.is_none() {
        let near = suggestion(&repository, images.keys().map(String::as_str));
        field.problem(format!(
            "is `{repository}`, for which the workload has no image, expected one by digest: nothing runs by tag{near}"
        ));
    }
    found.cloned()
}

pub(super) fn ports(container: &Field<'_>) -> Vec<ContainerPort> {
    let mut ports: Vec<ContainerPort> = Vec::new();
    for field in container.list("ports") {
        // A wrong number was noted; what refers to the port by name is not wrong too.
        let number = field.number_of("containerPort").unwrap_or(1);
        let name = field.text_of("name").map(str::to_owned);
        if name.is_some() && ports.iter().any(|other| other.name == name) {
            field.problem(format!("has the name {name:?} of another port", name = name.as_deref().unwrap_or_default()));
        }
        ports.push(ContainerPort { name, number });
    }
    ports
}

fn mounts(container: &Field<'_>) {
    for mount in container.list("volumeMounts") {
        let path = mount.text_of("mountPath").unwrap_or("?");
        mount.warning(format!(
            "is not honoured: nothing is mounted at `{path}`; the process sees this machine's files there"
        ));
    }
}
