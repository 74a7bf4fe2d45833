//! Deployments.

use std::collections::BTreeMap;

use super::{Surroundings, container, env::PodMetadata};
use crate::{
    cluster::desired::{ContainerPort, DesiredService, Endpoint, PodTemplate, RolloutStrategy},
    manifest::{Field, Value},
    vocabulary::ServiceName,
};

/// A Deployment on its way to a service. It takes part in everything even if it cannot become one.
#[derive(Debug)]
pub(super) struct Deployment<'a> {
    field: Field<'a>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) ports: Vec<ContainerPort>,
    pub(super) repository: Option<String>,
    pub(super) endpoints: Vec<Endpoint>,
    template: Option<PodTemplate>,
}

impl<'a> Deployment<'a> {
    pub(super) fn read(field: &Field<'a>, surroundings: &Surroundings<'_>) -> Self {
        let template = field.get("spec.template");
        let spec = template.as_ref().and_then(|template| template.get("spec"));
        let texts = |key: &str| template.as_ref().map(|template| template.map_of(key)).unwrap_or_default();
        let labels = texts("metadata.labels");
        let pod = PodMetadata { labels: labels.clone(), annotations: texts("metadata.annotations") };
        let container = spec.as_ref().and_then(container::only);
        let ports = container.as_ref().map(container::ports).unwrap_or_default();
        let read = |container: &Field<'_>| container::template(spec.as_ref()?, container, &ports, pod, surroundings);
        let this = Self {
            field: field.clone(),
            repository: container.as_ref().and_then(container::repository),
            template: container.as_ref().and_then(read),
            labels,
            ports,
            endpoints: Vec::new(),
        };
        this.check();
        this
    }

    pub(super) fn name(&self) -> &'a str {
        &self.field.origin.name
    }

    fn check(&self) {
        if self.field.truth_of("spec.paused") {
            self.field.problem("is paused: nothing would roll out; take `spec.paused` out");
        }
        if let Some(policy) = self.field.get("spec.template.spec.restartPolicy")
            && policy.text().is_some_and(|text| text != "Always")
        {
            policy.expected("`Always`, as Kubernetes demands of a Deployment");
        }
        let (ready, deadline) = self.seconds();
        if ready >= deadline {
            let deadline = format!("`spec.progressDeadlineSeconds` ({deadline}) must be more than");
            self.field.problem(format!("cannot roll out: {deadline} `spec.minReadySeconds` ({ready})"));
        }
        if let Some(selector) = self.field.get("spec.selector") {
            self.check_selector(&selector);
        }
    }

    /// `minReadySeconds` and `progressDeadlineSeconds`.
    fn seconds(&self) -> (u32, u32) {
        let number = |key: &str, default| self.field.number_of(key).unwrap_or(default);
        (number("spec.minReadySeconds", 0), number("spec.progressDeadlineSeconds", 600))
    }

    fn check_selector(&self, selector: &Field<'_>) {
        let labels = selector.map_of("matchLabels");
        if let Some(expressions) = selector.get("matchExpressions").filter(|list| list.items().next().is_some()) {
            expressions.problem("is not supported here; use `matchLabels`");
        } else if labels.is_empty() {
            selector.problem("selects nothing, expected `matchLabels`");
        }
        for (key, value) in labels.iter().filter(|(key, value)| self.labels.get(*key) != Some(value)) {
            selector.problem(format!("wants `{key}: {value}`, which `spec.template.metadata.labels` does not have"));
        }
    }

    /// The service, unless something was noted that makes it impossible.
    pub(super) fn finish(mut self) -> Option<DesiredService> {
        let replicas = self.field.number_of("spec.replicas").unwrap_or(1);
        self.endpoints.sort_by(|one, other| one.name.cmp(&other.name));
        let strategy = strategy(&self.field, replicas);
        let (min_ready_seconds, progress_deadline_seconds) = self.seconds();
        let name = service_name(&self.field);
        Some(DesiredService {
            replicas,
            strategy,
            min_ready_seconds,
            progress_deadline_seconds,
            endpoints: self.endpoints,
            name: name?,
            template: self.template?,
        })
    }
}

/// The object's name, as the name of a service.
pub(super) fn service_name(field: &Field<'_>) -> Option<ServiceName> {
    let name = field.get("metadata.name")?;
    ServiceName::new(name.text()?).map_err(|error| name.problem(format!("cannot be used: {error}"))).ok()
}

fn strategy(field: &Field<'_>, replicas: u32) -> RolloutStrategy {
    let rolling = field.get("spec.strategy.rollingUpdate");
    match field.get("spec.strategy.type") {
        Some(kind) if kind.text() == Some("Recreate") => {
            if let Some(rolling) = rolling {
                rolling.problem("is there beside the type `Recreate`, expected nothing");
            }
            return RolloutStrategy::Recreate;
        }
        Some(kind) if kind.text().is_some_and(|text| text != "RollingUpdate") => {
            kind.expected("`RollingUpdate` or `Recreate`");
        }
        _ => {}
    }
    let part = |key: &str, up: bool| {
        let field = rolling.as_ref().and_then(|rolling| rolling.get(key));
        field.map_or_else(|| percent(25, replicas, up), |field| share(&field, replicas, up))
    };
    // As the controller does it: the surge rounds up, the unavailable ones down, and one of them moves.
    match (part("maxSurge", true), part("maxUnavailable", false)) {
        (0, 0) => RolloutStrategy::RollingUpdate { max_surge: 0, max_unavailable: 1 },
        (max_surge, max_unavailable) => RolloutStrategy::RollingUpdate { max_surge, max_unavailable },
    }
}

/// A number, or a percentage of `replicas`.
fn share(field: &Field<'_>, replicas: u32, up: bool) -> u32 {
    let found = match &field.node.value {
        Value::Text(text) => text.strip_suffix('%').and_then(|digits| digits.parse().ok()),
        _ => None,
    };
    match found.or_else(|| field.number::<u32>()) {
        Some(number) if field.text().is_some() => percent(number, replicas, up),
        Some(number) => number,
        None => {
            field.expected("a number of pods or a percentage such as `25%`");
            0
        }
    }
}

fn percent(percent: u32, replicas: u32, up: bool) -> u32 {
    let product = u64::from(percent) * u64::from(replicas);
    let share = if up { product.div_ceil(100) } else { product / 100 };
    u32::try_from(share).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_in_kubernetes() {
        for (replicas, surge, unavailable) in [(1, 1, 0), (3, 1, 0), (4, 1, 1), (10, 3, 2), (0, 0, 0)] {
            assert_eq!((percent(25, replicas, true), percent(25, replicas, false)), (surge, unavailable));
        }
    }
}
