//! Calling the agent, and starting it when it is needed.

use std::{io, time::Duration};

use serde_json::Value;
use tokio::{
    net::UnixStream,
    process::Child,
    time::{Instant, timeout},
};

use crate::{
    Context, Effect, Error, ErrorKind, Result,
    local::cluster::{
        agent::{
            protocol::{Envelope, Frame, Idle, PROTOCOL, Request, receive, send},
            socket, start,
        },
        state::{Folder, Holder},
    },
};

/// How often a call is made again after the agent went away in the middle of it. Every call may be repeated.
const TRIES: u32 = 3;

const PAUSE: Duration = Duration::from_millis(20);

/// How long an agent may take to serve; its predecessor may have to end its pods first.
const START: Duration = Duration::from_secs(200);

/// How long a message may take.
const MESSAGE: Duration = Duration::from_secs(10);

/// A client of the agent of one folder.
#[derive(Debug)]
pub(in super::super) struct Client {
    folder: Folder,
}

/// Why a conversation had no answer.
enum Ended {
    Failed(Error),
    Gone(io::Error),
    OtherProtocol(String),
}

impl Client {
    pub(in super::super) fn new(folder: Folder) -> Self {
        Self { folder }
    }

    /// Makes a call. One that looks at what runs starts no agent: `None`.
    pub(super) async fn call(&self, cx: &Context, request: Request, idle: Idle) -> Result<Option<Value>> {
        let needed = !request.reads_only() || matches!(request, Request::Wait { .. });
        let envelope = Envelope {
            protocol: PROTOCOL.to_owned(),
            stop: false,
            idle: needed.then_some(idle),
            request: crate::context::to_json("cluster.call", &request)?,
        };
        let mut left = TRIES;
        loop {
            let stream = match self.connect().await? {
                Some(stream) => stream,
                None if needed => self.start(cx).await?,
                None => return Ok(None),
            };
            left -= 1;
            match converse(cx, stream, &envelope).await {
                Ok(value) => return Ok(Some(value)),
                Err(Ended::Failed(error)) => return Err(error),
                Err(Ended::Gone(error)) if left == 0 => return Err(self.gone(error)),
                Err(Ended::Gone(_)) => cx.sleep("cluster.call", PAUSE).await?,
                Err(Ended::OtherProtocol(found)) if left == 0 || !needed => return Err(self.other_version(&found)),
                Err(Ended::OtherProtocol(found)) => {
                    cx.status(format!("the cluster's agent is of another version ({found}): it ends, another starts"));
                    self.stop(cx).await?;
                }
            }
        }
    }

    /// Asks the agent to end everything and waits until it has. Without an agent there is nothing to do.
    pub(in super::super) async fn stop(&self, cx: &Context) -> Result<()> {
        loop {
            if let Some(mut stream) = self.connect().await? {
                let envelope = Envelope { protocol: PROTOCOL.to_owned(), stop: true, idle: None, request: Value::Null };
                // An agent that has just gone did what was asked.
                _ = timeout(MESSAGE, send(&mut stream, &envelope)).await;
                _ = timeout(MESSAGE, receive::<Frame>(&mut stream)).await;
            }
            match self.folder.holder()? {
                Some(Holder::Agent(_)) => cx.sleep("cluster.stop", PAUSE).await?,
                Some(holder) => return Err(self.held(holder)),
                None => return Ok(()),
            }
        }
    }

    async fn connect(&self) -> Result<Option<UnixStream>> {
        socket::connect(&self.folder).await.map_err(|error| Error::io("cluster.connect", self.folder.path(), error))
    }

    /// Starts an agent and connects to it, or to one that another client starts at the same time.
    async fn start(&self, cx: &Context) -> Result<UnixStream> {
        let began = Instant::now();
        let mut child: Option<Child> = None;
        loop {
            if let Some(stream) = self.connect().await? {
                return Ok(stream);
            }
            if let Some(holder @ Holder::Program(_)) = self.folder.holder()? {
                return Err(self.held(holder));
            }
            let ended = child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            match ended {
                Some(status) if !status.success() => return Err(start::failed(&self.folder, status)),
                // Another one serves, or did.
                Some(_) => child = None,
                None if child.is_none() => child = Some(start::start(&self.folder)?),
                None => {}
            }
            if began.elapsed() > START {
                let message = format!("the cluster's agent does not serve within {START:?}");
                return Err(Error::new(ErrorKind::Unavailable, "cluster.start", message)
                    .with("log", self.folder.file("agent.log").display()));
            }
            cx.sleep("cluster.start", PAUSE).await?;
        }
    }

    fn held(&self, holder: Holder) -> Error {
        let message = format!("another process ({holder}) runs the cluster in `{}`", self.folder.path().display());
        Error::new(ErrorKind::Conflict, "cluster.connect", message).advice("stop that one, or name another folder")
    }

    fn gone(&self, error: io::Error) -> Error {
        Error::new(ErrorKind::Unavailable, "cluster.call", "the cluster's agent went away during the call")
            .with("log", self.folder.file("agent.log").display())
            .with_effect(Effect::Unknown)
            .with_source(error)
    }

    fn other_version(&self, found: &str) -> Error {
        let message = format!("the cluster's agent is of version {found}, this program is of {PROTOCOL}");
        Error::new(ErrorKind::Conflict, "cluster.call", message)
            .with("folder", self.folder.path().display())
            .advice("stop the cluster, or roll out: that replaces the agent")
    }
}

async fn converse(cx: &Context, mut stream: UnixStream, envelope: &Envelope) -> Result<Value, Ended> {
    let sent = timeout(MESSAGE, send(&mut stream, envelope)).await;
    sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Ended::Gone)?;
    loop {
        match receive::<Frame>(&mut stream).await.map_err(Ended::Gone)? {
            Frame::Line(line) => cx.status(line),
            Frame::Answer(value) => return Ok(value),
            Frame::Failed(error) => return Err(Ended::Failed(error.into())),
            Frame::OtherProtocol(found) => return Err(Ended::OtherProtocol(found)),
        }
    }
}
