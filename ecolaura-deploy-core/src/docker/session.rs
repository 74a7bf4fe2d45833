//! The session of a build: a connection on which the engine asks, by gRPC, for files, secrets and logins.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioExecutor;
use tokio_util::task::AbortOnDropHandle;

use self::grpc::{Reply, Status};
pub(super) use self::{files::BUILD_FILE, logins::Logins};
use super::{
    context::Entry,
    engine::Engine,
    messages::{Health, SecretAnswer, SecretRequest},
};
use crate::{Context, Error, Result, Secret};

mod files;
mod grpc;
mod logins;

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const FILES: &str = "/moby.filesync.v1.FileSync/DiffCopy";
const LOGIN: &str = "/moby.filesync.v1.Auth/Credentials";
const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";

/// What the engine can ask for.
pub(super) struct Offer {
    pub(super) cx: Context,
    pub(super) operation: &'static str,
    pub(super) file: Bytes,
    pub(super) entries: Arc<[Entry]>,
    pub(super) secrets: BTreeMap<String, Secret<String>>,
    pub(super) logins: Logins,
    /// The registries that wanted a login, and whose they got.
    pub(super) told: Mutex<BTreeMap<String, String>>,
    /// What went wrong here; the engine says something about it too.
    pub(super) fault: Mutex<Option<Error>>,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("secrets", &self.secrets.keys()).finish_non_exhaustive()
    }
}

impl Offer {
    fn fail(&self, error: Error) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn fault(&self) -> Option<Error> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn told(&self) -> BTreeMap<String, String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Session {
    _serving: AbortOnDropHandle<()>,
    _connection: AbortOnDropHandle<()>,
}

impl Session {
    /// Opens the session `id`. The engine takes a context of an earlier session for this one's if both have the same
    /// `key` and no file has another size or time: so `key` is the digest of all that is in it.
    pub(super) async fn open(engine: &Engine, id: &str, key: &str, offer: &Arc<Offer>) -> Result<Self> {
        let mut headers = vec![
            ("x-docker-expose-session-uuid", id.to_owned()),
            ("x-docker-expose-session-name", "ecolaura-deploy".to_owned()),
            ("x-docker-expose-session-sharedkey", key.to_owned()),
        ];
        let methods = [HEALTH, FILES, SECRET, LOGIN];
        headers.extend(methods.map(|method| ("x-docker-expose-session-grpc-method", method.to_owned())));
        let (upgraded, connection) = engine.turn_around(offer.operation, "/session", &headers).await?;
        let offer = Arc::clone(offer);
        let serve = async move {
            let service = service_fn(move |request| answer(Arc::clone(&offer), request));
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // Where it breaks off, the build fails, and says so.
            _ = server.serve_connection(upgraded, service).await;
        };
        Ok(Self { _serving: AbortOnDropHandle::new(tokio::spawn(serve)), _connection: connection })
    }
}

async fn answer(offer: Arc<Offer>, request: Request<Incoming>) -> Result<Response<Reply>, Infallible> {
    Ok(match request.uri().path() {
        HEALTH => grpc::one(&Health::SERVING),
        SECRET => grpc::answer(secret(&offer, request.into_body()).await),
        LOGIN => grpc::answer(logins::login(&offer, request.into_body()).await),
        FILES => files::send(&offer, request),
        _ => grpc::refuse(&Status::unimplemented()),
    })
}

async fn secret(offer: &Offer, body: Incoming) -> Result<SecretAnswer, Status> {
    let asked: SecretRequest = grpc::asked(body).await?;
    // `not found` is what the engine takes for a secret that a step can do without.
    let value = offer.secrets.get(&asked.id).ok_or_else(|| Status::not_found(format!("no secret `{}`", asked.id)))?;
    Ok(SecretAnswer { data: value.expose().clone().into_bytes() })
}
