//! Pod Security: what a namespace lets pods do, and what in a pod template is more than that.
//!
//! A server refuses *pods*, not the Deployments that make them: those are accepted with a warning, and then have no
//! pods. So a template is looked at before. The controls are those of the Pod Security Standards of Kubernetes 1.34 for
//! Linux and Windows pods, as the server has them; older versions from 1.25 on are respected where they differ.

mod baseline;
mod restricted;
#[cfg(test)]
mod tests;

use std::fmt;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Lifecycle, Namespace, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    SecurityContext,
};
use serde::{Deserialize, Serialize};

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
const VERSION: &str = "pod-security.kubernetes.io/enforce-version";

/// The newest minor version whose controls are known here.
const NEWEST: u32 = 34;

/// How much a namespace lets pods do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Anything.
    Privileged,
    /// What is not known to give a pod the node.
    Baseline,
    /// What hardened pods need.
    Restricted,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// What a namespace enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The level.
    pub level: Level,
    /// The minor version of Kubernetes whose controls are meant.
    pub minor: u32,
}

impl Policy {
    /// `level` as the newest version has it.
    pub fn new(level: Level) -> Self {
        Self { level, minor: NEWEST }
    }

    /// What the labels of `namespace` enforce on a server of minor version `server`. Without a label a server may have
    /// a level of its own, which it tells nobody: then nothing is enforced here. As on the server, a level that it
    /// does not know is `restricted`.
    pub fn of(namespace: &Namespace, server: Option<u32>) -> Self {
        let label = |name: &str| namespace.metadata.labels.as_ref()?.get(name).map(String::as_str);
        let level = match label(ENFORCE) {
            None | Some("" | "privileged") => Level::Privileged,
            Some("baseline") => Level::Baseline,
            Some(_) => Level::Restricted,
        };
        let pinned = label(VERSION).and_then(|version| version.strip_prefix("v1.")?.parse().ok());
        let server = server.unwrap_or(NEWEST);
        Self { level, minor: pinned.unwrap_or(server).min(server) }
    }

    /// What in `template` is more than the policy lets pods do, in the order of the fields; `at` is where it stands,
    /// `spec.template`.
    ///
    /// ```
    /// use ecolaura_deploy_k8s::access::pod_security::{Level, Policy};
    /// let template = serde_json::from_value(serde_json::json!({"spec": {"containers": [{
    ///     "name": "web", "securityContext": {"privileged": true},
    /// }]}}))?;
    /// let found = Policy::new(Level::Baseline).violations(&template, "spec.template");
    /// assert_eq!(
    ///     found[0].to_string(),
    ///     "spec.template.spec.containers[0].securityContext.privileged is true; `baseline` wants it unset or false",
    /// );
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    pub fn violations(&self, template: &PodTemplateSpec, at: &str) -> Vec<Violation> {
        let Some(spec) = template.spec.as_ref().filter(|_| self.level > Level::Privileged) else { return Vec::new() };
        let at = if at.is_empty() { String::new() } else { format!("{at}.") };
        let pod = Pod { template, spec, at, minor: self.minor };
        let mut found = baseline::violations(&pod);
        if self.level == Level::Restricted {
            found.extend(restricted::violations(&pod));
            // Both say something of the same field: the stricter one counts.
            let strict: Vec<String> = strict_fields(&found);
            found.retain(|violation| violation.level == Level::Restricted || !strict.contains(&violation.field));
        }
        found
    }
}

fn strict_fields(found: &[Violation]) -> Vec<String> {
    found.iter().filter(|found| found.level == Level::Restricted).map(|found| found.field.clone()).collect()
}

/// A field that lets a pod do more than its namespace allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Violation {
    /// The level that forbids it.
    pub level: Level,
    /// The control, as the standards call it.
    pub control: String,
    /// The field: `spec.template.spec.hostNetwork`.
    pub field: String,
    /// What it is; `None` if it is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What it should be.
    pub wanted: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.as_ref().map_or("not set", String::as_str);
        write!(f, "{} is {found}; `{}` wants it {}", self.field, self.level, self.wanted)
    }
}

/// A rule: one control, and what it wants.
#[derive(Debug, Clone, Copy)]
struct Control {
    level: Level,
    name: &'static str,
    wanted: &'static str,
}

impl Control {
    const fn baseline(name: &'static str, wanted: &'static str) -> Self {
        Self { level: Level::Baseline, name, wanted }
    }

    const fn restricted(name: &'static str, wanted: &'static str) -> Self {
        Self { level: Level::Restricted, name, wanted }
    }

    fn violated(self, field: String, found: Option<impl fmt::Display>) -> Violation {
        Violation {
            level: self.level,
            control: self.name.to_owned(),
            field,
            found: found.map(|found| found.to_string()),
            wanted: self.wanted.to_owned(),
        }
    }
}

/// What is looked at.
struct Pod<'a> {
    template: &'a PodTemplateSpec,
    spec: &'a PodSpec,
    /// Where the template stands, with a dot.
    at: String,
    minor: u32,
}

/// One of its containers.
struct Part<'a> {
    container: &'a Container,
    at: String,
}

impl<'a> Pod<'a> {
    fn field(&self, name: &str) -> String {
        format!("{}spec.{name}", self.at)
    }

    fn security(&self) -> Option<&'a PodSecurityContext> {
        self.spec.security_context.as_ref()
    }

    fn is_windows(&self) -> bool {
        self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }

    fn parts(&self) -> impl Iterator<Item = Part<'a>> {
        let listed = |name: &'static str, containers: &'a [Container]| {
            let at = self.field(name);
            containers.iter().enumerate().map(move |(n, container)| Part { container, at: format!("{at}[{n}]") })
        };
        let init = listed("initContainers", self.spec.init_containers.as_deref().unwrap_or_default());
        init.chain(listed("containers", &self.spec.containers))
    }
}

impl<'a> Part<'a> {
    fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    fn security(&self) -> Option<&'a SecurityContext> {
        self.container.security_context.as_ref()
    }

    fn ports(&self) -> &'a [ContainerPort] {
        self.container.ports.as_deref().unwrap_or_default()
    }

    fn probes(&self) -> impl Iterator<Item = (&'static str, &'a Probe)> {
        let container = self.container;
        let probes = [
            ("livenessProbe", &container.liveness_probe),
            ("readinessProbe", &container.readiness_probe),
            ("startupProbe", &container.startup_probe),
        ];
        probes.into_iter().filter_map(|(name, probe)| Some((name, probe.as_ref()?)))
    }

    fn lifecycle(&self) -> Option<&'a Lifecycle> {
        self.container.lifecycle.as_ref()
    }
}
