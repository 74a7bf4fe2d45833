//! A connection to one cluster, and how calls on it are made: bounded, and again where that is safe and can help.

use std::{fmt, sync::Arc, time::Duration};

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result, Retry};
use kube::Client;
use tokio::time::Instant;

use crate::{connect::Warning, error::Call};

/// How long a call is tried again: longer than an API server takes to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a single try may take: the server itself gives up after a minute.
const TRY: Duration = Duration::from_secs(65);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A connection to one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    server: String,
    warnings: Arc<[Warning]>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Connection {
    /// Calls through `client`, whose own retries should be off: calls are tried again here. `server` is its address, for
    /// people.
    pub fn new(client: Client, server: impl Into<String>) -> Self {
        Self { client, server: server.into(), warnings: Arc::default() }
    }

    pub(crate) fn with_warnings(self, warnings: Vec<Warning>) -> Self {
        Self { warnings: warnings.into(), ..self }
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The namespace of the context or pod that it was made from; `default` if that names none.
    pub fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// What its user should mend.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What it calls through, for calls of your own.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Makes `call`, and makes it again while the server is away or asks to be asked later. So it must be one that may
    /// be made twice. Ends at the deadline or the cancel of `cx`.
    pub(crate) async fn call<T, F>(&self, cx: &Context, call: Call, make: impl Fn(Client) -> F) -> Result<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            cx.check(call.operation)?;
            let error = match self.try_once(cx, &call, &make).await? {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let wait = match error.retry() {
                Retry::After(asked) => asked.unwrap_or(pause).max(pause),
                _ => return Err(error),
            };
            if began.elapsed() + wait > PATIENCE || cx.remaining().is_some_and(|left| left < wait) {
                return Err(error.with_retry(Retry::Exhausted));
            }
            tracing::debug!(error = %error, ?wait, "calling again");
            cx.sleep(call.operation, wait).await.map_err(|error| called(&call, error))?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes `call` and never again, for what is asked to know how the server is.
    pub(crate) async fn once<T, F>(&self, cx: &Context, call: &Call, make: impl Fn(Client) -> F) -> Result<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        cx.check(call.operation)?;
        self.try_once(cx, call, &make).await?
    }

    /// One try: outside, whether it may go on; inside, what came of it.
    async fn try_once<T, F>(&self, cx: &Context, call: &Call, make: &impl Fn(Client) -> F) -> Result<Result<T>>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let made = cx.bounded(call.operation, tokio::time::timeout(TRY, make(self.client()))).await;
        Ok(match made.map_err(|error| called(call, error))? {
            Ok(made) => made.map_err(|error| call.failed(&self.server, &error)),
            Err(_) => Err(call.unanswered(&self.server, TRY)),
        })
    }

    /// The same for something that need not exist.
    pub(crate) async fn find<T, F>(&self, cx: &Context, call: Call, make: impl Fn(Client) -> F) -> Result<Option<T>>
    where
        F: Future<Output = kube::Result<T>>,
    {
        match self.call(cx, call, make).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A cancel or a deadline in the middle of a call: what it was at is named, and a write may have happened.
fn called(call: &Call, error: Error) -> Error {
    let effect = if call.writes { ecolaura_deploy_core::Effect::Unknown } else { ecolaura_deploy_core::Effect::None };
    error.with("object", &call.what).with_effect(effect)
}
