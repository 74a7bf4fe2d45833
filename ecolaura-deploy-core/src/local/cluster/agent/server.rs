//! The agent: it takes the folder, serves calls, and ends when it is not used any more.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    protocol::{Envelope, Frame, Idle, PROTOCOL, Request, WireError, receive, send},
    socket,
};
use crate::{
    Effect, Error, ErrorKind, Result,
    local::cluster::{
        engine::Engine,
        state::{Folder, Holder},
    },
};

/// How long to wait for a predecessor that is ending.
const PREDECESSOR: Duration = Duration::from_mins(3);

const PAUSE: Duration = Duration::from_millis(50);

/// How long a client may take to say what it wants.
const SAY: Duration = Duration::from_secs(10);

/// How often the agent looks whether it is used.
const LOOK: Duration = Duration::from_millis(500);

/// Until a client says otherwise.
const IDLE: Idle = Idle(Some(Duration::from_mins(10)));

/// Serves until it is told to end, or not used.
pub(super) fn run(dir: &Path) -> Result<()> {
    // Away from the terminal and the process group of whoever started it; if it leads a group already, it is so.
    _ = rustix::process::setsid();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("cluster.serve", "a runtime", error))?;
    let served = runtime.block_on(serve(dir));
    runtime.shutdown_background();
    served
}

#[derive(Debug)]
struct Agent {
    engine: Arc<Engine>,
    stop: CancellationToken,
    idle: Mutex<Idle>,
}

async fn serve(dir: &Path) -> Result<()> {
    let folder = Folder::create(dir)?;
    let Some(_lock) = take(&folder).await? else { return Ok(()) };
    let engine = Engine::open(folder.clone(), true).await?;
    let listener = socket::listen(&folder).map_err(|error| Error::io("cluster.serve", dir, error))?;
    let agent = Arc::new(Agent { engine, stop: CancellationToken::new(), idle: Mutex::new(IDLE) });
    tokio::spawn(Arc::clone(&agent.engine).run());
    tokio::spawn(Arc::clone(&agent.engine).sweep());
    tokio::spawn(listen_for_signals(agent.stop.clone()));
    _ = agent.stop.clone().run_until_cancelled(agent.accept(listener)).await;
    // From here on a client starts another agent, which waits for this one's lock.
    socket::remove(&folder);
    agent.engine.stop().await
}

/// The folder's lock; `None` if another agent serves.
async fn take(folder: &Folder) -> Result<Option<std::fs::File>> {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(lock) = folder.lock(Holder::Agent(std::process::id()))? {
            return Ok(Some(lock));
        }
        if let Some(Holder::Program(pid)) = folder.holder()? {
            return Err(Error::new(ErrorKind::Conflict, "cluster.serve", format!("process {pid} uses the folder")));
        }
        if matches!(socket::connect(folder).await, Ok(Some(_))) {
            return Ok(None);
        }
        if began.elapsed() > PREDECESSOR {
            return Err(Error::new(ErrorKind::Conflict, "cluster.serve", "another agent is ending and does not end"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A call that is given up because the agent was told to end.
fn ending() -> Error {
    Error::new(ErrorKind::Unavailable, "cluster.call", "the cluster is being stopped")
        .with_effect(Effect::Unknown)
        .advice("somebody stopped it meanwhile; roll out again if that was not meant")
}

async fn listen_for_signals(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
}

impl Agent {
    /// Serves clients until nobody has used the cluster for long enough.
    async fn accept(self: &Arc<Self>, listener: UnixListener) {
        loop {
            match tokio::time::timeout(LOOK, listener.accept()).await {
                Ok(Ok((stream, _))) => _ = tokio::spawn(Arc::clone(self).converse(stream)),
                Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
                Err(_) => {}
            }
            let idle = *self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.0.is_some_and(|idle| self.engine.used.idle() >= idle) {
                return;
            }
        }
    }

    async fn converse(self: Arc<Self>, stream: UnixStream) {
        let (mut reader, mut writer) = stream.into_split();
        let said = tokio::time::timeout(SAY, receive::<Envelope>(&mut reader)).await;
        // Who says nothing, or something else, gets no answer.
        let Ok(Ok(envelope)) = said else { return };
        // A client that went away does not hear the answer.
        _ = self.answer(envelope, reader, &mut writer).await;
    }

    async fn answer(
        &self,
        envelope: Envelope,
        reader: OwnedReadHalf,
        writer: &mut OwnedWriteHalf,
    ) -> std::io::Result<()> {
        if envelope.stop {
            self.stop.cancel();
            return send(writer, &Frame::Answer(serde_json::Value::Null)).await;
        }
        if envelope.protocol != PROTOCOL {
            return send(writer, &Frame::OtherProtocol(PROTOCOL.to_owned())).await;
        }
        if let Some(idle) = envelope.idle {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = idle;
        }
        match serde_json::from_value::<Request>(envelope.request) {
            Ok(request) => self.call(request, reader, writer).await,
            Err(error) => {
                let error = Error::invalid("cluster.call", "the agent does not know this call").with_source(error);
                send(writer, &Frame::Failed(WireError::from(&error))).await
            }
        }
    }

    /// Runs a call for as long as its client listens.
    async fn call(
        &self,
        request: Request,
        mut reader: OwnedReadHalf,
        writer: &mut OwnedWriteHalf,
    ) -> std::io::Result<()> {
        let (sender, mut lines) = mpsc::channel(16);
        let call = self.engine.call(request, sender);
        tokio::pin!(call);
        let answer = loop {
            tokio::select! {
                answer = &mut call => break answer,
                Some(line) = lines.recv() => send(writer, &Frame::Line(line)).await?,
                // A client says one thing only: more, or an end, means that it has gone.
                _ = reader.read_u8() => return Ok(()),
                () = self.stop.cancelled() => break Err(ending()),
            }
        };
        match answer {
            Ok(value) => send(writer, &Frame::Answer(value)).await,
            Err(error) => send(writer, &Frame::Failed(WireError::from(&error))).await,
        }
    }
}
