//! What the state of a container says.

use ecolaura_deploy_core::backend::FailureCause;
use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus},
    jiff::Timestamp,
};

use super::Failure;

/// What is wrong with a container.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    pub(super) patience: Patience,
}

/// Whether it may heal by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    /// [`super::Graces::image`]
    Image,
    /// [`super::Graces::missing`]
    Missing,
    /// Until the deadline.
    Endless,
}

/// How often a container may end before it is called a loop, where the kubelet does not say so.
const ENDS: i32 = 3;

/// What is wrong with it, if anything. `liveness` tells that its liveness probe had it killed; where ending is part of
/// the plan (`may_end`), it is no loop.
pub(super) fn trouble(status: &ContainerStatus, liveness: bool, may_end: bool) -> Option<Trouble> {
    let state = status.state.as_ref()?;
    let waiting = state.waiting.as_ref().and_then(|waiting| {
        let (reason, message) = (waiting.reason.as_deref()?, waiting.message.as_deref().unwrap_or_default());
        Some((reason, message))
    });
    let found = match waiting {
        Some(("CrashLoopBackOff", _)) if !may_end => Some(crash(status, liveness)),
        Some((reason, message)) => wait(reason, message),
        None if status.restart_count >= ENDS && !status.ready && !may_end => Some(crash(status, liveness)),
        None => None,
    };
    found.map(|Trouble { failure, patience }| Trouble {
        failure: failure.within(format!("container {}", status.name)),
        patience,
    })
}

fn wait(reason: &str, message: &str) -> Option<Trouble> {
    let line = if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") };
    let (cause, patience) = match reason {
        "InvalidImageName" | "ErrImageNeverPull" => (FailureCause::ImageMissing, Patience::None),
        "ErrImagePull" | "ImagePullBackOff" => (FailureCause::ImageMissing, pull(message)),
        "CreateContainerConfigError" if message.contains("failed to sync") => {
            (FailureCause::ConfigMissing, Patience::Endless)
        }
        "CreateContainerConfigError" => (FailureCause::ConfigMissing, Patience::Missing),
        "CreateContainerError" | "RunContainerError" | "StartError" | "PostStartHookError" => {
            (FailureCause::CannotStart, Patience::None)
        }
        _ => return None,
    };
    Some(Trouble { failure: Failure::new(cause, line), patience })
}

/// What a registry says is final, may be about to be granted, or may pass.
fn pull(message: &str) -> Patience {
    let says = |words: &[&str]| words.iter().any(|word| message.to_lowercase().contains(word));
    match () {
        () if says(&["not found", "manifest unknown", "invalid reference"]) => Patience::None,
        () if says(&["denied", "unauthorized", "authentication required", "forbidden"]) => Patience::Missing,
        () => Patience::Image,
    }
}

fn crash(status: &ContainerStatus, liveness: bool) -> Trouble {
    let last = last_end(status);
    let memory = last.is_some_and(|last| last.reason.as_deref() == Some("OOMKilled"));
    let cause = match () {
        () if memory => FailureCause::OutOfMemory,
        () if liveness => FailureCause::LivenessProbe,
        () => FailureCause::CrashLoop,
    };
    let times = match status.restart_count {
        1 => "restarted once".to_owned(),
        times => format!("restarted {times} times"),
    };
    let line = match last {
        Some(last) => format!("{times}; it last ended with {}", end(last)),
        None => times,
    };
    Trouble { failure: Failure::new(cause, line), patience: Patience::None }
}

fn last_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let of = |state: &'_ Option<ContainerState>| state.as_ref().is_some_and(|state| state.terminated.is_some());
    let state = if of(&status.state) { &status.state } else { &status.last_state };
    state.as_ref()?.terminated.as_ref()
}

/// `exit code 1 (Error)`.
pub(crate) fn end(ended: &ContainerStateTerminated) -> String {
    let code = match ended.signal {
        Some(signal) if signal != 0 => format!("signal {signal}"),
        _ => format!("exit code {}", ended.exit_code),
    };
    let reason = ended.reason.as_deref().filter(|reason| *reason != "Completed").map(|reason| format!(" ({reason})"));
    let message = ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    format!("{code}{}{message}", reason.unwrap_or_default())
}

/// Since when a container waits: since it last ended, if it did.
pub(super) fn waits_since(status: &ContainerStatus) -> Option<Timestamp> {
    last_end(status).and_then(|ended| ended.finished_at.as_ref()).map(|time| time.0)
}
