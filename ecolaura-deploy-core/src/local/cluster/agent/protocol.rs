//! What the agent and its clients say to each other: a length and JSON, over a socket that only this user can reach.

use std::{collections::BTreeMap, io, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{
    Context, Effect, Error, ErrorKind,
    backend::{ClusterSnapshot, Placement, Track, Traffic},
    cluster::desired::{Current, Desired},
    local::image::ImageConfig,
    vocabulary::{Digest, EnvironmentName, Name, ServiceName},
};

/// Changes whenever a message does. An agent of another number is asked to stop, in order, and another one started.
pub(in super::super) const PROTOCOL: &str = concat!(env!("CARGO_PKG_VERSION"), "/2");

/// The largest message.
const LIMIT: u32 = 64 * 1024 * 1024;

/// What every agent of every version reads first. `stop` is understood by all of them.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct Envelope {
    pub(in super::super) protocol: String,
    /// Asks the agent to end, whatever its version.
    #[serde(default)]
    pub(in super::super) stop: bool,
    /// How long the agent should go on without use; absent where the call does not say.
    #[serde(default)]
    pub(in super::super) idle: Option<Idle>,
    #[serde(default)]
    pub(in super::super) request: serde_json::Value,
}

/// How long an agent goes on without use; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Idle(pub(in super::super) Option<Duration>);

/// Who asks for a change: what of the context the fence needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Caller {
    environment: EnvironmentName,
    epoch: u64,
}

impl Caller {
    pub(in super::super) fn of(cx: &Context) -> Self {
        Self { environment: cx.environment().clone(), epoch: cx.epoch() }
    }

    pub(in super::super) fn context(self) -> Context {
        Context::new(self.environment).with_epoch(self.epoch)
    }
}

/// A call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub(in super::super) enum Request {
    /// What is compared with when planning.
    Running { namespace: Name },
    /// The images are unpacked already.
    Apply { caller: Caller, desired: Desired, images: BTreeMap<Digest, ImageConfig>, placement: Placement },
    /// Waits for roll-outs.
    Wait { namespace: Name, revisions: BTreeMap<ServiceName, u64>, track: Track, remaining: Option<Duration> },
    /// Moves requests.
    Shift { caller: Caller, namespace: Name, candidates: BTreeMap<ServiceName, u64>, traffic: Traffic },
    /// What runs.
    Status { namespace: Name },
    /// Goes back.
    Restore { caller: Caller, snapshot: ClusterSnapshot, remaining: Option<Duration> },
    /// What was printed.
    Logs { namespace: Name, service: ServiceName, lines: usize },
    /// Ends every process.
    Stop,
}

impl Request {
    /// Whether it changes nothing.
    pub(in super::super) fn reads_only(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Wait { .. } | Self::Status { .. } | Self::Logs { .. })
    }
}

/// The answer to [`Request::Running`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in super::super) struct Running {
    pub(in super::super) awake: bool,
    pub(in super::super) current: Current,
}

/// What comes back: any number of lines, then one of the others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Frame {
    /// How far it is.
    Line(String),
    /// Done.
    Answer(serde_json::Value),
    /// Failed.
    Failed(WireError),
    /// The agent speaks another version.
    OtherProtocol(String),
}

/// An error on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct WireError {
    kind: ErrorKind,
    operation: String,
    message: String,
    context: Vec<(String, String)>,
    advice: Option<String>,
    effect: Effect,
}

impl From<&Error> for WireError {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            operation: error.operation().to_owned(),
            message: error.message().to_owned(),
            context: error.context().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            advice: error.advice_text().map(str::to_owned),
            effect: error.effect(),
        }
    }
}

impl From<WireError> for Error {
    fn from(wire: WireError) -> Self {
        let error = Self::new(wire.kind, wire.operation, wire.message).with_effect(wire.effect);
        let error = wire.context.into_iter().fold(error, |error, (key, value)| error.with(key, value));
        match wire.advice {
            Some(advice) => error.advice(advice),
            None => error,
        }
    }
}

/// Sends one message.
pub(in super::super) async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= LIMIT);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a message larger than 64 MiB"))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(bytes);
    stream.write_all(&framed).await?;
    stream.flush().await
}

/// Receives one message; `UnexpectedEof` if the other side has gone.
pub(in super::super) async fn receive<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = stream.read_u32().await?;
    if length > LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message larger than 64 MiB"));
    }
    let mut bytes = Vec::new();
    stream.take(length.into()).read_to_end(&mut bytes).await?;
    if bytes.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&bytes).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_whole_or_not_at_all() {
        let mut bytes = Vec::new();
        send(&mut bytes, &Frame::Line("a".into())).await.unwrap();
        assert!(matches!(receive(&mut bytes.as_slice()).await.unwrap(), Frame::Line(line) if line == "a"));
        for length in 0..bytes.len() {
            let error = receive::<Frame>(&mut &bytes[..length]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
        let huge = receive::<Frame>(&mut [0xff; 8].as_slice()).await.unwrap_err();
        assert_eq!(huge.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_error_arrives_as_it_was() {
        let error = Error::new(ErrorKind::Conflict, "cluster.apply", "port 80 is taken")
            .with("service", "backend")
            .advice("free it")
            .with_effect(Effect::Partial);
        let wire = serde_json::to_string(&WireError::from(&error)).unwrap();
        let back: Error = serde_json::from_str::<WireError>(&wire).unwrap().into();
        assert_eq!((back.report(), back.kind(), back.effect()), (error.report(), error.kind(), error.effect()));
    }
}
