//! What containers print, line by line.

mod lines;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result};
use futures_util::{Stream, StreamExt as _, io::AsyncBufRead, stream};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    jiff::Timestamp,
};
use kube::{Api, api::LogParams};
use tokio_util::{
    codec::FramedRead,
    compat::{Compat, FuturesAsyncReadCompatExt as _},
};

use self::lines::Lossy;
use crate::{Connection, error::Call};

const OPERATION: &str = "cluster.logs";

/// Before it is tried again, and how long nothing may come until the pod is looked at.
const PAUSE: Duration = Duration::from_millis(300);
const SILENCE: Duration = Duration::from_secs(30);

/// Which container's log, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSource {
    /// The namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container; `None` where the pod has only one.
    pub container: Option<String>,
    /// Whether to go on until the container has ended for good.
    pub follow: bool,
    /// Whether that of the instance before the present one is meant.
    pub previous: bool,
    /// Only so many of the last lines.
    pub last: Option<usize>,
}

impl LogSource {
    /// Everything that is there of the only container of `pod`.
    pub fn new(namespace: impl Into<String>, pod: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            pod: pod.into(),
            container: None,
            follow: false,
            previous: false,
            last: None,
        }
    }

    /// Of this container.
    pub fn container(self, name: impl Into<String>) -> Self {
        Self { container: Some(name.into()), ..self }
    }

    /// Going on until the container has ended and will not be started again. One that has not started is waited for.
    pub fn follow(self) -> Self {
        Self { follow: true, ..self }
    }

    /// Of the instance before the present one.
    pub fn previous(self) -> Self {
        Self { previous: true, ..self }
    }

    /// Only the last `lines`.
    pub fn last(self, lines: usize) -> Self {
        Self { last: Some(lines), ..self }
    }

    fn title(&self) -> String {
        match &self.container {
            Some(container) => format!("the log of {container} in Pod {}/{}", self.namespace, self.pod),
            None => format!("the log of Pod {}/{}", self.namespace, self.pod),
        }
    }
}

/// The lines of a log, without what the redactor of `cx` knows. In place of a line of more than 64 KiB there is a note.
///
/// A log that is followed is taken up again where it broke off, each line once, as long as the container may print more:
/// the API server may be restarted meanwhile. It ends with the container, or when the pod is gone. An error ends the
/// stream, also [`ErrorKind::Cancelled`] and [`ErrorKind::Timeout`] of `cx`; dropping it leaves nothing behind.
pub fn logs(
    cx: &Context,
    connection: &Connection,
    source: LogSource,
) -> impl Stream<Item = Result<String>> + Send + use<> {
    logs_from(cx, connection, source, Place::default())
}

/// The same from `place` on, which goes on with it.
pub(crate) fn logs_from(
    cx: &Context,
    connection: &Connection,
    source: LogSource,
    place: Place,
) -> impl Stream<Item = Result<String>> + Send + use<> {
    let (cx, connection) = (cx.clone(), connection.clone());
    let reader = Reader { cx, connection, source, lines: None, place, before: None, ended: false };
    stream::try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|line| (line, reader))) })
}

/// How far a log that is followed was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place(Arc<Mutex<Option<Last>>>);

/// The lines that were printed last: when, and how many at that moment.
#[derive(Debug, Clone, Copy)]
struct Last {
    time: Timestamp,
    lines: usize,
}

impl Place {
    fn last(&self) -> Option<Last> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, time: Timestamp) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = last.filter(|last| last.time == time).map_or(0, |last| last.lines);
        *last = Some(Last { time, lines: lines + 1 });
    }
}

type Lines = FramedRead<Compat<std::pin::Pin<Box<dyn AsyncBufRead + Send>>>, Lossy>;

struct Reader {
    cx: Context,
    connection: Connection,
    source: LogSource,
    lines: Option<Lines>,
    place: Place,
    /// What a connection before this one has brought, as far as this one has not come past it.
    before: Option<Last>,
    /// Whether it was seen to have ended: what is read after that is all.
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<String>> {
        loop {
            let Some(lines) = &mut self.lines else {
                match self.open().await {
                    Ok(lines) => self.lines = Some(lines),
                    Err(error) if self.source.follow && (is_missing(&error) || is_early(&error)) => {
                        // The pod may not have come to its node yet, its container may not have started; or both are over.
                        match self.state().await? {
                            State::Gone if self.ended || self.place.last().is_some() => return Ok(None),
                            State::Gone => return Err(error),
                            State::Ended if self.ended => return Ok(None),
                            State::Ended => {
                                self.ended = true;
                                self.pause().await?;
                            }
                            State::Goes => self.pause().await?,
                        }
                    }
                    Err(error) => return Err(error),
                }
                continue;
            };
            let next = tokio::time::timeout(SILENCE, lines.next());
            match self.cx.bounded(OPERATION, next).await? {
                Ok(Some(Ok(line))) => {
                    if let Some(line) = self.line(&line) {
                        return Ok(Some(line));
                    }
                }
                Ok(Some(Err(error))) => self.broke(&error).await?,
                Ok(None) if self.ended || !self.source.follow => return Ok(None),
                Ok(None) => {
                    self.lines = None;
                    // The connection may have ended before the container did, and what it printed last may not have come to
                    // its node's file yet: its end is read once more.
                    self.ended = self.state().await? != State::Goes;
                    self.pause().await?;
                }
                // Nothing was said for long: the connection may be dead.
                Err(_) if self.source.follow && self.state().await? != State::Goes => self.lines = None,
                Err(_) => {}
            }
        }
    }

    /// What was read from a connection that ended before its time is good; the rest is asked for again.
    async fn broke(&mut self, error: &std::io::Error) -> Result<()> {
        self.lines = None;
        if !self.source.follow {
            let message = format!("could not read {}: {error}", self.source.title());
            return Err(Error::new(ErrorKind::Unavailable, OPERATION, message));
        }
        self.pause().await
    }

    async fn pause(&mut self) -> Result<()> {
        self.cx.sleep(OPERATION, PAUSE).await
    }

    async fn open(&mut self) -> Result<Lines> {
        self.before = self.place.last();
        let source = &self.source;
        let params = LogParams {
            container: source.container.clone(),
            follow: source.follow,
            previous: source.previous,
            tail_lines: source.last.filter(|_| self.before.is_none()).map(|lines| lines.try_into().unwrap_or(i64::MAX)),
            // `kube` would round it, and leave out what was printed before the next second.
            since_time: self.before.and_then(|last| Timestamp::from_second(last.time.as_second()).ok()),
            timestamps: source.follow,
            ..LogParams::default()
        };
        let params = &params;
        let call = Call::reads(OPERATION, source.title());
        let open =
            async |client| Api::<Pod>::namespaced(client, &source.namespace).log_stream(&source.pod, params).await;
        let stream: std::pin::Pin<Box<dyn AsyncBufRead + Send>> =
            Box::pin(self.connection.call(&self.cx, call, open).await?);
        Ok(FramedRead::new(stream.compat(), Lossy::default()))
    }

    /// The line as it is handed on, unless it was already.
    fn line(&mut self, line: &str) -> Option<String> {
        if !self.source.follow {
            return Some(self.cx.redactor().redact(line).into_owned());
        }
        let stamped = line.split_once(' ').and_then(|(time, text)| Some((time.parse::<Timestamp>().ok()?, text)));
        let Some((time, text)) = stamped else { return Some(self.cx.redactor().redact(line).into_owned()) };
        if let Some(before) = &mut self.before {
            if time < before.time {
                return None;
            }
            if time == before.time && before.lines > 0 {
                before.lines -= 1;
                return None;
            }
            self.before = None;
        }
        self.place.pass(time);
        Some(self.cx.redactor().redact(text).into_owned())
    }

    /// Whether it may print more.
    async fn state(&mut self) -> Result<State> {
        let call = Call::reads(OPERATION, format!("Pod {}/{}", self.source.namespace, self.source.pod));
        let get = async |client| Api::<Pod>::namespaced(client, &self.source.namespace).get(&self.source.pod).await;
        let found = self.connection.find(&self.cx, call, get).await?;
        Ok(match found {
            None => State::Gone,
            Some(pod) if has_ended(&pod, self.source.container.as_deref()) => State::Ended,
            Some(_) => State::Goes,
        })
    }
}

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It runs, or will.
    Goes,
    Ended,
    /// With its pod.
    Gone,
}

/// The pod is not there, or its node does not know it yet.
fn is_missing(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// It has not started yet, or its node has not said of it that it has: `is not available` means that the pod's status does
/// not name the container.
pub(crate) fn is_early(error: &Error) -> bool {
    const WAITS: [&str; 5] = [
        "is waiting to start",
        "ContainerCreating",
        "PodInitializing",
        "does not have a host assigned",
        "is not available",
    ];
    error.kind() == ErrorKind::InvalidInput && WAITS.iter().any(|words| error.message().contains(words))
}

/// Whether a container of `pod` has ended and will not be started again.
fn has_ended(pod: &Pod, container: Option<&str>) -> bool {
    let Some(status) = &pod.status else { return false };
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return true;
    }
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let found = lists
        .into_iter()
        .flat_map(|list| list.iter().flatten())
        .find(|status| container.is_none_or(|name| status.name == name));
    let ended = |status: &ContainerStatus| Some(status.state.as_ref()?.terminated.as_ref()?.exit_code);
    match (found.and_then(ended), pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref())) {
        (Some(_), Some("Never")) | (Some(0), Some("OnFailure")) => true,
        // Init containers start again only if they failed.
        (Some(0), _) => {
            status.init_container_statuses.iter().flatten().any(|init| Some(init.name.as_str()) == container)
        }
        _ => false,
    }
}
