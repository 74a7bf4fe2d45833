//! The way from a target to the engine: within this process, or by the agent's socket.

mod client;
mod host;

use serde::de::DeserializeOwned;

pub(super) use self::{client::Client, host::Host};
use super::agent::protocol::{Idle, Request};
use crate::{Context, Effect, Error, ErrorKind, Result};

/// Who runs the pods.
#[derive(Debug)]
pub(super) enum Link {
    Agent(Client),
    Own(Host),
}

impl Link {
    /// Makes a call; `None` if it only reads and nobody runs pods. Lines become the step's status. Until the context's
    /// deadline or a cancel; what a changing call did is then not known.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        cx: &Context,
        operation: &'static str,
        request: Request,
        idle: Idle,
    ) -> Result<Option<T>> {
        cx.check(operation)?;
        let reads = request.reads_only();
        let work = async {
            match self {
                Self::Agent(client) => client.call(cx, request, idle).await,
                Self::Own(host) => host.call(cx, request).await.map(Some),
            }
        };
        let effect = |error: Error| match error.kind() {
            ErrorKind::Cancelled | ErrorKind::Timeout if !reads && error.effect() == Effect::None => {
                error.with_effect(Effect::Unknown)
            }
            _ => error,
        };
        let answer = cx.bounded(operation, work).await.and_then(|answer| answer).map_err(effect)?;
        let read = |value| {
            serde_json::from_value(value)
                .map_err(|error| Error::internal(operation, "the answer cannot be read").with_source(error))
        };
        answer.map(read).transpose()
    }
}
