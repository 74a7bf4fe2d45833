//! What the pods of a Job print, handed on while they run.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result, event::Stream as Channel, migration::Answer};
use futures_util::{Stream, StreamExt as _, stream::SelectAll};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api,
    api::ListParams,
    runtime::{WatchStreamExt as _, watcher},
};

use crate::{
    Connection, LogSource,
    error::Call,
    logs::{Place, logs_from},
    watch::anew,
};

/// How long the rest of the logs is waited for when all pods have ended, and when some never started.
const REST: Duration = Duration::from_secs(15);
const SCRAPS: Duration = Duration::from_secs(1);

/// How often the end of the logs is read again for something that must come: a node may bring what was printed last to its
/// files after it has said that the container has ended. Each time takes a third of a second.
pub(super) const AGAIN: usize = 15;

/// The same where nothing was heard at all, and nothing must come: most programs print something.
pub(super) const SILENT: usize = 3;

/// The label that the Job's controller gives its pods.
pub(super) fn selector(job: &str) -> String {
    format!("batch.kubernetes.io/job-name={job}")
}

/// Lines with the container that printed them, and whether it is named where they are shown.
type Lines = Pin<Box<dyn Stream<Item = (Arc<str>, bool, String)> + Send>>;

/// Hears every line that the containers of a Job print.
pub(crate) trait Listener: Send {
    /// Takes a line of `container`; whether it is to be shown as well.
    fn hear(&mut self, container: &str, line: &str) -> bool;

    /// Whether something must come that was not heard yet.
    fn is_waiting(&self) -> bool {
        false
    }
}

/// Nobody: all is shown.
pub(super) struct Nobody;

impl Listener for Nobody {
    fn hear(&mut self, _container: &str, _line: &str) -> bool {
        true
    }
}

/// What a container must print.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Needed {
    #[default]
    Nothing,
    /// At least a line.
    Lines,
    /// A whole answer.
    Answer,
}

/// What one container printed, as much of it as is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    container: String,
    lines: Vec<String>,
    bytes: usize,
    needed: Needed,
}

/// The most that is kept, in bytes.
const MOST_KEPT: usize = 16 * 1024 * 1024;

impl Kept {
    /// Of this container.
    pub(super) fn of(container: impl Into<String>) -> Self {
        Self { container: container.into(), ..Self::default() }
    }

    /// This must come.
    pub(super) fn needing(self, needed: Needed) -> Self {
        Self { needed, ..self }
    }

    /// The answer, if the whole of it was printed.
    pub(super) fn answer(&self) -> Result<Option<Answer>> {
        Answer::find(self.lines.iter().map(String::as_str))
    }

    /// Everything that it printed. `None` if that was too much.
    pub(super) fn lines(&self) -> Option<&[String]> {
        (self.bytes <= MOST_KEPT).then_some(&self.lines)
    }
}

impl Listener for Kept {
    fn hear(&mut self, container: &str, line: &str) -> bool {
        if container != self.container {
            return true;
        }
        self.bytes += line.len();
        if self.bytes <= MOST_KEPT {
            self.lines.push(line.to_owned());
        }
        !Answer::is_part(line)
    }

    fn is_waiting(&self) -> bool {
        match self.needed {
            Needed::Nothing => false,
            Needed::Lines => self.lines.is_empty(),
            Needed::Answer => self.bytes <= MOST_KEPT && matches!(self.answer(), Ok(None)),
        }
    }
}

/// The logs of all pods of a Job.
pub(super) struct Output<'a> {
    cx: &'a Context,
    connection: &'a Connection,
    namespace: &'a str,
    selector: String,
    pods: Pin<Box<dyn Stream<Item = Result<Pod, watcher::Error>> + Send>>,
    known: BTreeSet<String>,
    /// How far each container's log was read, by the pod's name and the container's.
    places: BTreeMap<(String, String), Place>,
    lines: SelectAll<Lines>,
    /// Whether any line came.
    heard: bool,
    listener: &'a mut (dyn Listener + 'a),
}

impl<'a> Output<'a> {
    pub(super) fn new(
        cx: &'a Context,
        connection: &'a Connection,
        namespace: &'a str,
        job: &str,
        listener: &'a mut (dyn Listener + 'a),
    ) -> Self {
        let selector = selector(job);
        let api = Api::<Pod>::namespaced(connection.client(), namespace);
        let config = watcher::Config::default().labels(&selector);
        let pods = anew(move || watcher(api.clone(), config.clone())).applied_objects();
        Self {
            cx,
            connection,
            namespace,
            selector,
            pods: Box::pin(pods),
            known: BTreeSet::new(),
            places: BTreeMap::new(),
            lines: SelectAll::new(),
            heard: false,
            listener,
        }
    }

    fn print(&mut self, (container, named, line): (Arc<str>, bool, String)) {
        self.heard = true;
        if !self.listener.hear(&container, &line) {
            return;
        }
        let line = if named { format!("{container}: {line}") } else { line };
        self.cx.output(Channel::Stdout, line);
    }

    /// Waits for a line or a pod. Cancel safe: nothing that was read is lost.
    pub(super) async fn hand_on(&mut self) {
        tokio::select! {
            Some(line) = self.lines.next(), if !self.lines.is_empty() => self.print(line),
            pod = self.pods.next() => match pod {
                Some(Ok(pod)) => self.follow(&pod),
                Some(Err(error)) => tracing::debug!(%error, "the pods of a Job cannot be watched"),
                None => std::future::pending().await,
            },
        }
    }

    /// What is left when the Job has ended.
    pub(super) async fn rest(&mut self) {
        let params = ListParams::default().labels(&self.selector);
        let (params, namespace) = (&params, self.namespace);
        let list = async |client| Api::<Pod>::namespaced(client, namespace).list(params).await;
        let call = Call::reads(super::OPERATION, "the pods of the Job");
        let pods = self.connection.call(self.cx, call, list).await.map(|pods| pods.items);
        let patience = if pods.as_ref().is_ok_and(|pods| pods.iter().all(has_ended)) { REST } else { SCRAPS };
        let pods = pods.unwrap_or_default();
        if tokio::time::timeout(patience, self.all_of(&pods)).await.is_err() && patience == REST {
            self.cx.warn("the rest of the Job's log did not come in time; the pods have it");
        }
    }

    /// All that `pods` have printed, and what comes late.
    async fn all_of(&mut self, pods: &[Pod]) {
        pods.iter().for_each(|pod| self.follow(pod));
        self.print_all().await;
        for again in 0..AGAIN {
            if !self.listener.is_waiting() && (self.heard || again >= SILENT) {
                return;
            }
            pods.iter().for_each(|pod| self.read(pod));
            self.print_all().await;
        }
    }

    async fn print_all(&mut self) {
        while let Some(line) = self.lines.next().await {
            self.print(line);
        }
    }

    fn follow(&mut self, pod: &Pod) {
        if pod.metadata.uid.clone().is_some_and(|uid| self.known.insert(uid)) {
            self.read(pod);
        }
    }

    /// What its containers print, from where it was read to.
    fn read(&mut self, pod: &Pod) {
        let (Some(name), Some(spec)) = (pod.metadata.name.clone(), &pod.spec) else { return };
        let containers: Vec<&Container> = spec.init_containers.iter().flatten().chain(&spec.containers).collect();
        let many = containers.len() > 1;
        for container in containers {
            let place = self.places.entry((name.clone(), container.name.clone())).or_default().clone();
            let source = LogSource::new(self.namespace, &name).container(&container.name).follow();
            let shown: Arc<str> = container.name.as_str().into();
            let (cx, title) = (self.cx.clone(), format!("{} of Pod {name}", container.name));
            let lines = logs_from(self.cx, self.connection, source, place).filter_map(move |line| {
                let line = match line {
                    Ok(line) => Some((Arc::clone(&shown), many, line)),
                    Err(error) => {
                        warn(&cx, &title, &error);
                        None
                    }
                };
                async move { line }
            });
            self.lines.push(Box::pin(lines));
        }
    }
}

/// The Job goes on without its log.
fn warn(cx: &Context, title: &str, error: &Error) {
    if !matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) {
        cx.warn(format!("what {title} prints cannot be read: {}", error.message()));
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
