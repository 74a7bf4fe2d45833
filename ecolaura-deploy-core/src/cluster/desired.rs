//! What should run, resolved and complete: manifests, images and configuration have become plain data here.

mod process;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

pub(crate) use self::process::PodFacts;
use crate::vocabulary::{Digest, Name, PinnedImage, ServiceName};

/// Everything a workload wants in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Desired {
    /// Where.
    pub(crate) namespace: Name,
    /// One for each Deployment, sorted by name.
    pub(crate) services: Vec<DesiredService>,
    /// Over everything above.
    pub(crate) digest: Digest,
}

impl Desired {
    /// `services` in `namespace`, with their digest.
    pub(crate) fn new(namespace: Name, mut services: Vec<DesiredService>) -> Self {
        services.sort_by(|one, other| one.name.cmp(&other.name));
        let digest = digest_of(&(&namespace, services.iter().map(DesiredService::digest).collect::<Vec<_>>()));
        Self { namespace, services, digest }
    }
}

/// A Deployment with its image, its configuration and the Services that select it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DesiredService {
    /// The Deployment's name.
    pub(crate) name: ServiceName,
    /// How many pods.
    pub(crate) replicas: u32,
    /// How one revision takes the place of another.
    pub(crate) strategy: RolloutStrategy,
    /// How long a pod must be ready until it counts as available.
    pub(crate) min_ready_seconds: u32,
    /// How long a roll-out may go without progress.
    pub(crate) progress_deadline_seconds: u32,
    /// What each pod is made of: a new revision exactly if this differs.
    pub(crate) template: PodTemplate,
    /// The Services that select its pods, sorted by name.
    pub(crate) endpoints: Vec<Endpoint>,
}

impl DesiredService {
    /// Over everything that needs new pods when it changes: Kubernetes' pod-template hash.
    pub(crate) fn template_digest(&self) -> Digest {
        digest_of(&self.template.without_values())
    }

    /// Over everything.
    pub(crate) fn digest(&self) -> Digest {
        let template = self.template.without_values();
        digest_of(&Self { template, ..self.clone() })
    }
}

fn digest_of(value: &impl Serialize) -> Digest {
    Digest::of(serde_json::to_vec(value).unwrap_or_default())
}

/// How one revision takes the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum RolloutStrategy {
    /// Step by step. Never both 0.
    RollingUpdate {
        /// How many pods more than wanted there may be.
        max_surge: u32,
        /// How many fewer than wanted may be available.
        max_unavailable: u32,
    },
    /// All old pods end before the first new one starts.
    Recreate,
}

/// What a pod is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodTemplate {
    /// The image of its one container.
    pub(crate) image: PinnedImage,
    /// Replaces the image's entrypoint.
    pub(crate) command: Option<Vec<String>>,
    /// Replaces the image's command.
    pub(crate) args: Option<Vec<String>>,
    /// In the manifest's order: a value may refer to those before it.
    pub(crate) env: Vec<EnvVar>,
    /// Replaces the image's working directory.
    pub(crate) working_dir: Option<String>,
    /// The container's ports, in the manifest's order.
    pub(crate) ports: Vec<ContainerPort>,
    /// Whether it may have requests.
    pub(crate) readiness: Option<Probe>,
    /// Whether it must be restarted.
    pub(crate) liveness: Option<Probe>,
    /// Holds the other two back until it succeeded once.
    pub(crate) startup: Option<Probe>,
    /// Runs before the first signal to end.
    pub(crate) pre_stop: Option<PreStop>,
    /// How long it may take to end, `pre_stop` included, before it is killed.
    pub(crate) termination_grace_seconds: u32,
    /// `metadata.annotations` of the template: a change of one (`restartedAt`) makes new pods.
    pub(crate) annotations: BTreeMap<String, String>,
}

impl PodTemplate {
    /// The same with every secret value blanked; what remains of each is its mark.
    fn without_values(&self) -> Self {
        let mut template = self.clone();
        for variable in &mut template.env {
            if let EnvValue::Secret(secret) = &mut variable.value {
                secret.value.clear();
            }
        }
        template
    }
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EnvVar {
    /// Its name.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: EnvValue,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", content = "value", rename_all = "snake_case")]
pub(crate) enum EnvValue {
    /// `value:` in the manifest. `$(VAR)` is expanded.
    Template(String),
    /// A `ConfigMap` entry or a label. Taken as it is.
    Literal(String),
    /// A `Secret` entry. Taken as it is.
    Secret(SecretValue),
    /// `status.podIP`.
    PodIp,
    /// `metadata.name`.
    PodName,
    /// `metadata.namespace`.
    Namespace,
}

/// A secret on its way to the process that needs it. It is serialised for the channel to the agent and for the agent's
/// private state only: never for a record, an event or a plan.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretValue {
    value: String,
    /// Where it was: `Secret backend, key password`.
    pub(crate) source: String,
    /// A salted digest: tells whether it changed, and nothing else.
    pub(crate) mark: Digest,
}

impl SecretValue {
    /// `value` of `source`. Marks can be compared only between values of one salt.
    pub(crate) fn new(value: String, source: String, salt: &[u8]) -> Self {
        let mut digester = crate::vocabulary::Digester::new();
        digester.field(salt).field(&source).field(&value);
        Self { value, source, mark: digester.finish() }
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (redacted)", self.source)
    }
}

/// A port of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerPort {
    /// What probes and Services may call it.
    pub(crate) name: Option<String>,
    /// Its number, on the pod's own address.
    pub(crate) number: u16,
}

/// A probe, with Kubernetes' defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// What is tried.
    pub(crate) check: Check,
    /// Seconds from the container's start to the first try.
    pub(crate) initial_delay_seconds: u32,
    /// Seconds between tries; at least 1.
    pub(crate) period_seconds: u32,
    /// Seconds until a try has failed; at least 1.
    pub(crate) timeout_seconds: u32,
    /// Failures in a row that change the answer to no; at least 1.
    pub(crate) failure_threshold: u32,
    /// Successes in a row that change it to yes; at least 1.
    pub(crate) success_threshold: u32,
}

/// One way to ask a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Check {
    /// A GET that must answer 200 to 399.
    HttpGet {
        /// With `/` before it.
        path: String,
        /// The port, resolved.
        port: u16,
        /// More headers.
        headers: Vec<(String, String)>,
    },
    /// A connection that must be accepted.
    TcpSocket {
        /// The port, resolved.
        port: u16,
    },
    /// A command that must end with 0. No shell, no expansion.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// What happens before a container is told to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum PreStop {
    /// It waits.
    Sleep {
        /// How long.
        seconds: u32,
    },
    /// A request or a command; its answer does not matter.
    Run {
        /// Which.
        check: Check,
    },
}

/// A Service that selects the pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The Service's name.
    pub(crate) name: ServiceName,
    /// Its ports, in the manifest's order.
    pub(crate) ports: Vec<EndpointPort>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndpointPort {
    /// Its name; Kubernetes demands one where there are several.
    pub(crate) name: Option<String>,
    /// What callers use.
    pub(crate) port: u16,
    /// The pods' port, resolved.
    pub(crate) target: u16,
}

/// What runs in a namespace now, as the holder of that state tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Current {
    /// Every service, whoever applied it.
    pub(crate) services: Vec<CurrentService>,
}

/// A service that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CurrentService {
    /// The revision of its stable pods.
    pub(crate) revision: u64,
    /// What was applied last as the stable one.
    pub(crate) service: DesiredService,
    /// What stands beside it, with its revision.
    pub(crate) candidate: Option<(u64, DesiredService)>,
}
