//! What became of a roll-out. No I/O: recorded facts in, one answer out.

use std::time::Duration;

use crate::backend::{FailureCause, RolloutState};

/// After how many restarts a container that ends again and again has failed.
const RESTARTS: u32 = 3;

/// How many of a container's last lines are shown.
const LINES: usize = 10;

/// What goes wrong with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Trouble {
    /// The process cannot be started at all; waiting does not help.
    CannotStart {
        /// Why.
        cause: FailureCause,
        /// In which words.
        message: String,
    },
    /// The process ended: `exit code 1`.
    Exited(String),
    /// The liveness or start-up probe had it killed.
    Killed(String),
    /// The readiness probe says no.
    NotReady(String),
}

/// What the verdict needs to know of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct PodReport {
    pub(in super::super) name: String,
    /// It is of the judged revision.
    pub(in super::super) current: bool,
    pub(in super::super) available: bool,
    pub(in super::super) retiring: bool,
    pub(in super::super) restarts: u32,
    pub(in super::super) trouble: Option<Trouble>,
    /// The last lines it printed.
    pub(in super::super) log: Vec<String>,
}

/// One service on its way to a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct RolloutView {
    /// `Deployment backend, revision 3`.
    pub(in super::super) object: String,
    /// The service's name, before each message.
    pub(in super::super) service: String,
    pub(in super::super) replicas: u32,
    pub(in super::super) pods: Vec<PodReport>,
    /// Since something last went forward.
    pub(in super::super) stalled: Duration,
    /// How long that may last.
    pub(in super::super) progress_deadline: Duration,
}

/// What became of it.
pub(in super::super) fn judge(view: &RolloutView) -> RolloutState {
    let current = || view.pods.iter().filter(|pod| pod.current && !pod.retiring);
    if let Some((cause, pod)) = current().find_map(|pod| Some((hopeless(pod)?, pod))) {
        return failed(view, cause, pod);
    }
    let Some(message) = missing(view) else { return RolloutState::Ready };
    if view.stalled < view.progress_deadline {
        return RolloutState::Progressing { message: format!("{}: {message}", view.service) };
    }
    match current().find(|pod| !pod.available) {
        Some(pod) => failed(view, late(pod), pod),
        None => {
            let chain = vec![view.object.clone(), format!("no progress for {:?}: {message}", view.progress_deadline)];
            RolloutState::Failed { cause: FailureCause::DeadlineExceeded, chain }
        }
    }
}

/// What is missing, in kubectl's words.
fn missing(view: &RolloutView) -> Option<String> {
    let count = |wanted: fn(&PodReport) -> bool| view.pods.iter().filter(|pod| wanted(pod)).count();
    let wanted = view.replicas as usize;
    let updated = count(|pod| pod.current && !pod.retiring);
    let others = count(|pod| !pod.current || pod.retiring);
    let available = count(|pod| pod.current && !pod.retiring && pod.available);
    if updated < wanted {
        Some(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if available < wanted {
        Some(format!("{available} of {wanted} updated replicas are available"))
    } else if others > 0 || updated > wanted {
        Some(format!("{} old replicas are pending termination", others + updated - wanted))
    } else {
        None
    }
}

/// The cause for which waiting does not help.
fn hopeless(pod: &PodReport) -> Option<FailureCause> {
    match pod.trouble.as_ref()? {
        Trouble::CannotStart { cause, .. } => Some(*cause),
        Trouble::Exited(_) if pod.restarts >= RESTARTS => Some(crash(pod)),
        Trouble::Killed(_) if pod.restarts >= RESTARTS => Some(FailureCause::LivenessProbe),
        _ => None,
    }
}

/// The cause once time is up.
fn late(pod: &PodReport) -> FailureCause {
    match &pod.trouble {
        Some(Trouble::CannotStart { cause, .. }) => *cause,
        Some(Trouble::Exited(_)) => crash(pod),
        Some(Trouble::Killed(_)) => FailureCause::LivenessProbe,
        Some(Trouble::NotReady(_)) => FailureCause::ReadinessProbe,
        None => FailureCause::DeadlineExceeded,
    }
}

/// A server that finds its port in use ends, and says so in the words of the operating system.
fn crash(pod: &PodReport) -> FailureCause {
    let taken = pod.log.iter().any(|line| line.to_ascii_lowercase().contains("address already in use"));
    if taken { FailureCause::PortTaken } else { FailureCause::CrashLoop }
}

fn failed(view: &RolloutView, cause: FailureCause, pod: &PodReport) -> RolloutState {
    let mut chain = vec![view.object.clone()];
    chain.push(match pod.restarts {
        0 => format!("pod {}", pod.name),
        1 => format!("pod {}, restarted once", pod.name),
        times => format!("pod {}, restarted {times} times", pod.name),
    });
    chain.extend(pod.trouble.as_ref().map(Trouble::line));
    let from = pod.log.len().saturating_sub(LINES);
    chain.extend(pod.log[from..].iter().map(|line| format!("log: {line}")));
    RolloutState::Failed { cause, chain }
}

impl Trouble {
    /// In one line.
    pub(in super::super) fn line(&self) -> String {
        match self {
            Self::CannotStart { message, .. } => format!("container cannot start: {message}"),
            Self::Exited(how) => format!("container ended: {how}"),
            Self::Killed(why) => format!("container was killed: {why}"),
            Self::NotReady(why) => format!("container is not ready: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodReport {
        PodReport { name: name.into(), current: true, ..PodReport::default() }
    }

    fn good() -> PodReport {
        PodReport { available: true, ..pod("good") }
    }

    fn old() -> PodReport {
        PodReport { current: false, available: true, ..pod("old") }
    }

    fn view(replicas: u32, pods: Vec<PodReport>) -> RolloutView {
        RolloutView {
            object: "Deployment backend, revision 3".into(),
            service: "backend".into(),
            replicas,
            pods,
            stalled: Duration::ZERO,
            progress_deadline: Duration::from_mins(10),
        }
    }

    fn message(view: &RolloutView) -> String {
        match judge(view) {
            RolloutState::Progressing { message } => message,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn it_is_ready_only_when_nothing_else_is_left() {
        assert_eq!(judge(&view(2, vec![good(), good()])), RolloutState::Ready);
        assert_eq!(judge(&view(0, vec![])), RolloutState::Ready);
        for (pods, text) in [
            (vec![old(), good()], "backend: 1 out of 2 new replicas have been updated"),
            (vec![good(), pod("new")], "backend: 1 of 2 updated replicas are available"),
            (
                vec![good(), good(), PodReport { retiring: true, ..old() }],
                "backend: 1 old replicas are pending termination",
            ),
            (vec![good(), good(), good()], "backend: 1 old replicas are pending termination"),
        ] {
            assert_eq!(message(&view(2, pods)), text);
        }
    }

    fn cause(view: &RolloutView) -> Option<FailureCause> {
        match judge(view) {
            RolloutState::Failed { cause, .. } => Some(cause),
            _ => None,
        }
    }

    #[test]
    fn causes_are_named() {
        let with = |trouble: Trouble, restarts| PodReport { trouble: Some(trouble), restarts, ..pod("bad") };
        let exited = || Trouble::Exited("exit code 1".into());
        let killed = || Trouble::Killed("liveness probe fails: 500".into());
        let missing = || Trouble::CannotStart { cause: FailureCause::ConfigMissing, message: "no key".into() };
        let taken = PodReport { log: vec!["Error: Address already in use (os error 98)".into()], ..with(exited(), 3) };
        for (pod, now, later) in [
            (with(exited(), 1), None, Some(FailureCause::CrashLoop)),
            (with(exited(), 3), Some(FailureCause::CrashLoop), Some(FailureCause::CrashLoop)),
            (taken, Some(FailureCause::PortTaken), Some(FailureCause::PortTaken)),
            (with(killed(), 2), None, Some(FailureCause::LivenessProbe)),
            (with(killed(), 3), Some(FailureCause::LivenessProbe), Some(FailureCause::LivenessProbe)),
            (with(missing(), 0), Some(FailureCause::ConfigMissing), Some(FailureCause::ConfigMissing)),
            (with(Trouble::NotReady("503".into()), 0), None, Some(FailureCause::ReadinessProbe)),
            (pod("slow"), None, Some(FailureCause::DeadlineExceeded)),
        ] {
            let early = view(1, vec![pod.clone()]);
            assert_eq!(cause(&early), now, "{pod:?}");
            assert_eq!(cause(&RolloutView { stalled: early.progress_deadline, ..early }), later, "{pod:?}");
        }
    }

    #[test]
    fn an_old_pods_trouble_is_not_the_new_ones() {
        let sick = PodReport { trouble: Some(Trouble::Exited("exit code 1".into())), restarts: 9, ..old() };
        assert_eq!(cause(&view(1, vec![sick, pod("new")])), None);
    }

    #[test]
    fn the_chain_goes_from_the_object_to_the_log() {
        let log = (0..20).map(|line| format!("line {line}")).collect();
        let bad = PodReport { trouble: Some(Trouble::Exited("exit code 1".into())), restarts: 3, log, ..pod("bad-1") };
        let RolloutState::Failed { chain, .. } = judge(&view(1, vec![bad])) else { panic!("not failed") };
        assert_eq!(chain.len(), 3 + LINES);
        assert_eq!(
            chain[..3],
            ["Deployment backend, revision 3", "pod bad-1, restarted 3 times", "container ended: exit code 1"]
        );
        assert_eq!(chain.last().unwrap(), "log: line 19");
    }
}
