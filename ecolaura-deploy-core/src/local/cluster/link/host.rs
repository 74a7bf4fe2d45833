//! An engine in this process, on threads of its own: it lives and ends with its owner, not with the owner's runtime.

use std::{
    fs::File,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Context, Error, ErrorKind, Result,
    local::cluster::{
        agent::protocol::Request,
        engine::Engine,
        state::{Folder, Holder},
    },
};

/// An engine and its threads. Dropped, it kills every pod and returns when they are gone.
#[derive(Debug)]
pub(in super::super) struct Host {
    engine: Arc<Engine>,
    runtime: Handle,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    _lock: File,
}

impl Host {
    /// Fails with `Conflict` if another process runs pods in this folder.
    pub(in super::super) fn start(folder: &Folder) -> Result<Self> {
        let lock = folder.lock(Holder::Program(std::process::id()))?.ok_or_else(|| busy(folder))?;
        let stop = CancellationToken::new();
        let (sender, started) = mpsc::channel();
        let (token, folder) = (stop.clone(), folder.clone());
        let thread = std::thread::Builder::new().name("ecolaura-cluster".to_owned());
        let thread = thread
            .spawn(move || live(folder, &token, &sender))
            .map_err(|error| Error::io("cluster.open", "a thread", error))?;
        let ended = |_| Error::internal("cluster.open", "the cluster's thread ended");
        let (engine, runtime) = started.recv().map_err(ended)??;
        Ok(Self { engine, runtime, stop, thread: Some(thread), _lock: lock })
    }

    pub(super) async fn call(&self, cx: &Context, request: Request) -> Result<Value> {
        let (sender, mut lines) = tokio::sync::mpsc::channel(16);
        let engine = Arc::clone(&self.engine);
        let call = self.runtime.spawn(async move { engine.call(request, sender).await });
        let mut call = AbortOnDropHandle::new(call);
        loop {
            tokio::select! {
                answer = &mut call => {
                    return answer.map_err(|error| Error::internal("cluster.call", "the call panicked").with_source(error))?;
                }
                Some(line) = lines.recv() => cx.status(line),
            }
        }
    }
}

type Started = Result<(Arc<Engine>, Handle)>;

fn live(folder: Folder, stop: &CancellationToken, started: &mpsc::Sender<Started>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        // The caller waits for one of these answers.
        Err(error) => {
            _ = started.send(Err(Error::io("cluster.open", "a runtime", error)));
            return;
        }
    };
    runtime.block_on(async {
        let engine = match Engine::open(folder, false).await {
            Ok(engine) => engine,
            Err(error) => {
                _ = started.send(Err(error));
                return;
            }
        };
        tokio::spawn(Arc::clone(&engine).run());
        tokio::spawn(Arc::clone(&engine).sweep());
        if started.send(Ok((Arc::clone(&engine), Handle::current()))).is_ok() {
            stop.cancelled().await;
        }
        engine.kill().await;
    });
    runtime.shutdown_background();
}

fn busy(folder: &Folder) -> Error {
    let by = match folder.holder() {
        Ok(Some(Holder::Agent(pid))) => format!("the agent {pid}"),
        Ok(Some(Holder::Program(pid))) => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    Error::new(ErrorKind::Conflict, "cluster.open", format!("{by} runs the cluster in `{}`", folder.path().display()))
        .advice("stop that one, or name another folder")
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened.
            _ = thread.join();
        }
    }
}
