//! Many runs at the same time, each in a Kubernetes Job of its own: one for each environment, or each service.
//!
//! Nothing is scheduled here. A member is the program that embeds this library, started in a pod from its own image with
//! other arguments; it runs its pipeline as it would anywhere, with the run store that all members share, and its lock. If
//! its pod is lost, Kubernetes starts another, and that goes on with the open run. This side starts the Jobs, a bounded
//! number at a time, hands on what they print, and sums up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, ErrorRecord, Result,
    event::{Event, EventKind, EventSink, NoEvents, Stream},
    run::RunResult,
    vocabulary::Name,
};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Connection,
    job::{JobEnd, JobReport, JobRequest, Listener, OnCancel, run_heard, tidy},
};

const OPERATION: &str = "fleet.run";

/// Exit codes by which a program says something; others come from signals, and mean that it was ended.
const SAID: std::ops::RangeInclusive<i32> = 1..=125;

/// Runs members as Jobs.
///
/// `pod` is the `spec` of their pods; its first container is the program, which gets a member's arguments and variables.
/// For its events to be streamed, it writes them to standard output by
/// [`JsonLines`](ecolaura_deploy_core::report::json::JsonLines); other lines are handed on as output.
///
/// # Lost pods
/// A pod that is evicted, or whose node is gone or drained, is replaced without limit; one that is killed in another way, a
/// limited number of times ([`Fleet::restarts`]). Exit codes from 1 to 125 are what the program says: no other pod is
/// started then.
///
/// # Cancellation
/// The Jobs run on unless [`Fleet::on_cancel`] says otherwise, and whoever calls [`Fleet::run`] with the same key finds
/// them. Members that were not started yet are not.
///
/// ```no_run
/// # async fn example(cx: ecolaura_deploy_core::Context, connection: ecolaura_deploy_k8s::Connection)
/// # -> ecolaura_deploy_core::Result<()> {
/// use std::num::NonZeroUsize;
/// use ecolaura_deploy_k8s::fleet::{Fleet, Member};
/// let pod = serde_json::json!({"serviceAccountName": "deployer",
///     "containers": [{"name": "deploy", "image": "registry.example.com/deploy@sha256:…"}]});
/// let members = ["dev", "staging"].map(|environment| {
///     Member::new(environment.parse().unwrap()).args(["--env", environment])
/// });
/// let fleet = Fleet::new(connection, "deployments".parse()?, pod).at_once(NonZeroUsize::MIN);
/// let report = fleet.run(&cx, "release-41", &members).await?;
/// println!("{report}");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Fleet {
    connection: Connection,
    namespace: Name,
    pod: Value,
    at_once: NonZeroUsize,
    restarts: u32,
    deadline: Option<Duration>,
    on_cancel: OnCancel,
    stops: bool,
    events: Arc<dyn EventSink>,
}

/// One run of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its name, and what its Job's name begins with.
    pub name: Name,
    /// The arguments of the program.
    pub args: Vec<String>,
    /// Variables. Not for secrets, which everybody who may read the Job could read.
    pub env: BTreeMap<String, String>,
}

impl Member {
    /// A member without arguments.
    pub fn new(name: Name) -> Self {
        Self { name, args: Vec::new(), env: BTreeMap::new() }
    }

    /// With these arguments too.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With this variable too.
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }
}

/// How a member ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemberEnd {
    /// Its program said how its run ended.
    Ran(RunResult),
    /// Its program succeeded and did not say how.
    Succeeded,
    /// Its Job failed without its program having said how its run ended: from the Job inwards.
    Failed(Vec<String>),
    /// How it ended is not known.
    Unknown(ErrorRecord),
    /// Another failed before it was its turn.
    NotStarted,
}

impl MemberEnd {
    fn is_done(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Ran(RunResult::Succeeded))
    }

    fn words(&self) -> (&'static str, String) {
        match self {
            Self::Succeeded | Self::Ran(RunResult::Succeeded) => ("done", String::new()),
            Self::Ran(RunResult::SucceededExcept { groups }) => {
                let groups: Vec<&str> = groups.iter().map(Name::as_str).collect();
                ("in part", format!("undone: {}", groups.join(", ")))
            }
            Self::Ran(RunResult::RolledBack { failed, cause }) => ("undone", format!("{failed}: {cause}")),
            Self::Ran(RunResult::NeedsOperator { failed, cause, commands, .. }) => {
                ("operator", format!("{failed}: {cause}; {}", commands.join("; ")))
            }
            Self::Ran(RunResult::Suspended { reason }) => ("waiting", reason.clone()),
            Self::Ran(_) => ("ended", String::new()),
            Self::Failed(chain) => ("failed", chain.join(": ")),
            Self::Unknown(error) => ("unknown", error.message.clone()),
            Self::NotStarted => ("not started", String::new()),
        }
    }
}

/// What became of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemberReport {
    /// Its name.
    pub name: Name,
    /// Its Job, which has its log.
    pub job: String,
    /// How it ended.
    pub end: MemberEnd,
}

/// What became of a fleet, in the order of its members. `Display` is a line for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FleetReport {
    /// Each member.
    pub members: Vec<MemberReport>,
}

impl FleetReport {
    /// Whether all of them are done.
    pub fn succeeded(&self) -> bool {
        self.members.iter().all(|member| member.end.is_done())
    }

    /// Nothing if all are done; otherwise an error that says which are not.
    pub fn into_result(self) -> Result<()> {
        let left: Vec<String> = self.members.iter().filter(|member| !member.end.is_done()).map(line).collect();
        if left.is_empty() {
            return Ok(());
        }
        let message = format!("{} of {} are not done: {}", left.len(), self.members.len(), left.join("; "));
        Err(Error::new(ErrorKind::CommandFailed, OPERATION, message)
            .with_effect(ecolaura_deploy_core::Effect::Partial)
            .advice("look at each, and run the fleet again under another key: what is done is not done again"))
    }
}

fn line(member: &MemberReport) -> String {
    let (word, more) = member.end.words();
    if more.is_empty() { format!("{} {word}", member.name) } else { format!("{} {word} ({more})", member.name) }
}

impl fmt::Display for FleetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.members.iter().map(|member| member.name.as_str().len()).max().unwrap_or_default();
        for (index, member) in self.members.iter().enumerate() {
            let (word, more) = member.end.words();
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}", format!("{:width$}  {word:11}  {more}", member.name.as_str()).trim_end())?;
        }
        Ok(())
    }
}

impl Fleet {
    /// Runs members in pods of this `spec`, in `namespace`.
    pub fn new(connection: Connection, namespace: Name, pod: Value) -> Self {
        Self {
            connection,
            namespace,
            pod,
            at_once: NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN),
            restarts: 6,
            deadline: None,
            on_cancel: OnCancel::Leave,
            stops: false,
            events: Arc::new(NoEvents),
        }
    }

    /// With at most so many at the same time; 4 unless set.
    pub fn at_once(self, members: NonZeroUsize) -> Self {
        Self { at_once: members, ..self }
    }

    /// With so many pods in the place of ones that were killed; 6 unless set.
    pub fn restarts(self, restarts: u32) -> Self {
        Self { restarts, ..self }
    }

    /// Each member ended after `time`.
    pub fn deadline(self, time: Duration) -> Self {
        Self { deadline: Some(time), ..self }
    }

    /// With this becoming of the Jobs when the wait for them ends early.
    pub fn on_cancel(self, on_cancel: OnCancel) -> Self {
        Self { on_cancel, ..self }
    }

    /// Starting no more once one was not done; what runs goes on.
    pub fn stop_at_first_failure(self) -> Self {
        Self { stops: true, ..self }
    }

    /// With every event of every member handed to `sink`, of each member in its order. An event says its environment, run
    /// and pipeline.
    pub fn events(self, sink: Arc<dyn EventSink>) -> Self {
        Self { events: sink, ..self }
    }

    /// Runs all of `members` once for `key`, and sums up. Members of the same key that have a Job already are not started
    /// again: they are waited for, or their end is told, and their events are handed on once more. Whatever shall be released
    /// anew needs a key of its own, a number of the build for example.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] before anything is started. That members failed is in the report.
    pub async fn run(&self, cx: &Context, key: &str, members: &[Member]) -> Result<FleetReport> {
        let requests = self.requests(key, members)?;
        let failed = AtomicBool::new(false);
        let failed = &failed;
        let runs = requests.into_iter().map(|(request, container)| async move {
            if failed.load(Ordering::SeqCst) && self.stops {
                return MemberReport {
                    name: request.name.clone(),
                    job: request.job_name(),
                    end: MemberEnd::NotStarted,
                };
            }
            let report = self.one(cx, &request, container).await;
            if !report.end.is_done() {
                failed.store(true, Ordering::SeqCst);
            }
            report
        });
        let members = stream::iter(runs).buffered(self.at_once.get()).collect().await;
        Ok(FleetReport { members })
    }

    /// The Job of each member, all checked before the first is started.
    fn requests(&self, key: &str, members: &[Member]) -> Result<Vec<(JobRequest, String)>> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = members.iter().find(|member| !seen.insert(&member.name)) {
            return Err(Error::invalid(OPERATION, format!("two members are called `{}`", twice.name))
                .advice("give each a name of its own: it is the name of its Job"));
        }
        members.iter().map(|member| self.request(key, member)).collect()
    }

    fn request(&self, key: &str, member: &Member) -> Result<(JobRequest, String)> {
        let mut pod = self.pod.clone();
        let wrong = || {
            Error::invalid(OPERATION, "the pods of a fleet have no container with a name")
                .advice("give the `spec` of a pod, with `containers`, the first of which is the program")
        };
        let container = pod.pointer_mut("/containers/0").ok_or_else(wrong)?;
        let name = container["name"].as_str().ok_or_else(wrong)?.to_owned();
        container["args"] = json!(member.args);
        let variables = member.env.iter().map(|(name, value)| json!({"name": name, "value": value}));
        match container.get_mut("env").and_then(Value::as_array_mut) {
            Some(given) => given.extend(variables),
            None => container["env"] = variables.collect(),
        }
        pod["restartPolicy"] = json!("Never");
        let said: Vec<i32> = SAID.collect();
        let spec = json!({
            "backoffLimit": self.restarts,
            "podFailurePolicy": {"rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                {"action": "FailJob", "onExitCodes": {"containerName": name, "operator": "In", "values": said}},
            ]},
            "template": {"spec": pod},
        });
        let key = format!("{key}/{}", member.name);
        let request = JobRequest::new(self.namespace.clone(), member.name.clone(), key, spec).on_cancel(self.on_cancel);
        let request = match self.deadline {
            Some(time) => request.deadline(time),
            None => request,
        };
        Ok((request, name))
    }

    async fn one(&self, cx: &Context, request: &JobRequest, container: String) -> MemberReport {
        let mut ear = Ear { cx, member: &request.name, container, events: &self.events, said: Said::default() };
        let ran = run_heard(cx, &self.connection, request, &mut ear).await;
        let end = end(ran, ear.said.result());
        if let Err(error) = tidy(cx, &self.connection, self.namespace.as_str(), &request.name).await {
            tracing::debug!(%error, "old Jobs are left");
        }
        let report = MemberReport { name: request.name.clone(), job: request.job_name(), end };
        cx.status(line(&report));
        report
    }
}

fn end(ran: Result<JobReport>, result: Option<RunResult>) -> MemberEnd {
    match (ran, result) {
        (Err(error), _) => MemberEnd::Unknown(ErrorRecord::from(&error)),
        (Ok(JobReport { end: JobEnd::Succeeded, .. }), None) => MemberEnd::Succeeded,
        // A program that says that it succeeded and is ended as failed did something after its run.
        (Ok(JobReport { end: JobEnd::Failed { chain, .. }, .. }), None | Some(RunResult::Succeeded)) => {
            MemberEnd::Failed(chain)
        }
        (Ok(_), Some(result)) => MemberEnd::Ran(result),
    }
}

/// Hears the events of a member.
struct Ear<'a> {
    cx: &'a Context,
    member: &'a Name,
    container: String,
    events: &'a Arc<dyn EventSink>,
    said: Said,
}

/// What a member said of its last run. The last lines of a lost pod may come after those of the pod in its place, so the
/// times of the events count and not their order.
#[derive(Debug, Default)]
struct Said {
    begun: Option<Event>,
    finished: Option<Event>,
}

impl Said {
    fn hear(&mut self, event: &Event) {
        let last = match &event.kind {
            EventKind::RunStarted | EventKind::RunResumed { .. } => &mut self.begun,
            EventKind::RunFinished { .. } => &mut self.finished,
            _ => return,
        };
        if last.as_ref().is_none_or(|last| last.at <= event.at) {
            *last = Some(event.clone());
        }
    }

    /// How it ended; `None` if another began after it.
    fn result(&self) -> Option<RunResult> {
        let begun = self.begun.as_ref();
        let finished = self.finished.as_ref().filter(|finished| begun.is_none_or(|begun| begun.at <= finished.at))?;
        match &finished.kind {
            EventKind::RunFinished { result, .. } => Some(result.clone()),
            _ => None,
        }
    }
}

impl Listener for Ear<'_> {
    fn hear(&mut self, container: &str, line: &str) -> bool {
        let event = if container == self.container { event(line) } else { None };
        match event {
            Some(event) => {
                self.said.hear(&event);
                self.events.emit(&event);
            }
            None => self.cx.output(Stream::Stdout, format!("{}: {line}", self.member)),
        }
        false
    }

    fn is_waiting(&self) -> bool {
        self.said.result().is_none()
    }
}

fn event(line: &str) -> Option<Event> {
    if !line.starts_with('{') {
        return None;
    }
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ends: [(&str, MemberEnd); 3]) -> FleetReport {
        let members = ends.map(|(name, end)| MemberReport { name: name.parse().unwrap(), job: name.to_owned(), end });
        FleetReport { members: members.into() }
    }

    fn failed(chain: &str, result: Option<RunResult>) -> MemberEnd {
        let job = JobEnd::Failed {
            cause: ecolaura_deploy_core::backend::FailureCause::JobFailed,
            chain: vec![chain.to_owned()],
            ran: true,
        };
        let report = json!({"name": "j", "adopted": false, "end": job});
        end(Ok(serde_json::from_value(report).unwrap()), result)
    }

    #[test]
    fn the_summary_says_what_became_of_each() {
        let undone = RunResult::RolledBack { failed: "roll out".to_owned(), cause: "image not found".to_owned() };
        let report = report([
            ("dev", MemberEnd::Ran(RunResult::Succeeded)),
            ("staging", MemberEnd::Ran(undone)),
            ("production", MemberEnd::NotStarted),
        ]);
        let lines =
            ["dev         done", "staging     undone       roll out: image not found", "production  not started"];
        assert_eq!(report.to_string(), lines.join("\n"));
        assert!(!report.succeeded());
        let error = report.into_result().unwrap_err().report();
        assert!(error.contains("2 of 3") && error.contains("staging undone (roll out: image not found)"), "{error}");
    }

    #[test]
    fn what_the_program_said_counts_unless_it_failed_afterwards() {
        let undone = RunResult::RolledBack { failed: "a".to_owned(), cause: "b".to_owned() };
        assert_eq!(failed("exit code 1", Some(undone.clone())), MemberEnd::Ran(undone));
        let without = MemberEnd::Failed(vec!["exit code 101".to_owned()]);
        assert_eq!(failed("exit code 101", Some(RunResult::Succeeded)), without);
        assert_eq!(failed("exit code 101", None), without);
    }

    #[test]
    fn what_a_lost_pod_said_last_does_not_hide_what_came_of_it() {
        let at = |second: u32, kind: &str| {
            let line = format!(
                r#"{{"schema":1,"run":"1","environment":"dev","pipeline":"p","seq":0,"at":"2026-11-26T09:00:{second:02}Z","elapsed":{{"secs":0,"nanos":0}},{kind}}}"#
            );
            event(&line).unwrap()
        };
        let started = at(1, r#""type":"run_started""#);
        let resumed = at(5, r#""type":"run_resumed","since":"2026-11-26T09:00:01Z","kept":1"#);
        let finished = at(7, r#""type":"run_finished","result":{"result":"succeeded"},"took":{"secs":0,"nanos":0}"#);
        let said = |events: &[&Event]| {
            let mut said = Said::default();
            events.iter().for_each(|event| said.hear(event));
            said.result()
        };
        assert_eq!(said(&[&started, &resumed, &finished]), Some(RunResult::Succeeded));
        assert_eq!(said(&[&resumed, &finished, &started]), Some(RunResult::Succeeded), "its pod's last line came late");
        assert_eq!(said(&[&started, &resumed]), None);
        assert_eq!(said(&[&finished, &at(9, r#""type":"run_started""#)]), None, "another has begun");
    }

    #[test]
    fn only_lines_that_are_events_are_taken_for_events() {
        assert_eq!(event("listening on 10.0.0.1"), None);
        assert_eq!(event(r#"{"level":"info","message":"a line of the program's own"}"#), None);
        let line = r#"{"schema":1,"run":"1","environment":"dev","pipeline":"p","seq":0,"at":"2026-11-26T09:00:00Z","elapsed":{"secs":0,"nanos":0},"type":"run_started"}"#;
        assert!(event(line).is_some());
    }
}
