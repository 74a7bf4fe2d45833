//! The engine's HTTP API, over its socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, CONTENT_LENGTH, HOST, UPGRADE},
    upgrade::{self, Upgraded},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use crate::{Context, Error, ErrorKind, Result};

const STANDARD: &str = "/var/run/docker.sock";
/// How long the engine may take for what is no work.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that an answer may hold which is read as a whole, in bytes.
const ANSWER: usize = 1024 * 1024;
/// The most bytes that the address of a request may have.
pub(super) const ADDRESS: usize = 65_534;
/// The first version of the API that has BuildKit with sessions.
const OLDEST: (u32, u32) = (1, 39);

/// Where an engine listens. Each request has a connection of its own, which ends with it.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    socket: PathBuf,
}

/// What the engine answered; the connection ends with it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    _connection: AbortOnDropHandle<()>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    api_version: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: String,
}

impl Engine {
    pub(super) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The engine that `host`, the value of `DOCKER_HOST`, names, or the one of this machine.
    pub(super) fn standard(operation: &'static str, host: Option<&str>) -> Result<Self> {
        let Some(host) = host.filter(|host| !host.is_empty()) else { return Ok(Self::at(Path::new(STANDARD))) };
        match host.strip_prefix("unix://") {
            Some(path) => Ok(Self::at(Path::new(path))),
            None => {
                let message = format!("`DOCKER_HOST` is `{}`, expected `unix://PATH`", host.escape_debug());
                Err(Error::new(ErrorKind::Unsupported, operation, message)
                    .advice("use an engine of this machine, or bring the other one's socket here: `ssh -L PATH:/var/run/docker.sock HOST`"))
            }
        }
    }

    /// Fails unless an engine listens that can build here.
    pub(super) async fn check(&self, cx: &Context, operation: &'static str) -> Result<()> {
        let asked = async {
            let answer = self.ask(operation, Method::GET, "/version").await?;
            answer.whole(self, operation).await
        };
        let bytes = self.soon(cx, operation, asked).await?;
        let version: Version = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("what listens at `{}` is no Docker Engine: {error}", self.socket.display());
            Error::new(ErrorKind::Unsupported, operation, message).with_source(error)
        })?;
        match version.lacks() {
            None => Ok(()),
            Some(lacks) => {
                let message = format!("the engine at `{}` {lacks}", self.socket.display());
                Err(Error::new(ErrorKind::Unsupported, operation, message)
                    .with("version", version.version)
                    .with("API", version.api_version)
                    .advice("use a Docker Engine from 18.09 on Linux; nothing was built"))
            }
        }
    }

    /// Sends a request without a body. Fails if the answer is a refusal.
    pub(super) async fn ask(&self, operation: &'static str, method: Method, target: &str) -> Result<Answer> {
        let answer = self.send(operation, request(operation, method, target)?).await?;
        match answer.response.status() {
            status if status.is_success() => Ok(answer),
            _ => Err(answer.refusal(self, operation).await),
        }
    }

    /// Makes a connection to which the engine sends requests.
    pub(super) async fn turn_around(
        &self,
        operation: &'static str,
        target: &str,
        headers: &[(&'static str, String)],
    ) -> Result<(Upgraded, AbortOnDropHandle<()>)> {
        let mut request = request(operation, Method::POST, target)?;
        let all = request.headers_mut();
        all.insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
        all.insert(UPGRADE, http::HeaderValue::from_static("h2c"));
        for (name, value) in headers {
            let value = http::HeaderValue::from_str(value);
            let value = value.map_err(|error| Error::internal(operation, "a header is none").with_source(error))?;
            all.append(*name, value);
        }
        let answer = self.send(operation, request).await?;
        if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(answer.refusal(self, operation).await);
        }
        let Answer { response, _connection: connection } = answer;
        let upgraded = upgrade::on(response).await;
        Ok((upgraded.map_err(|error| self.broken(operation, error))?, connection))
    }

    async fn send(&self, operation: &'static str, request: Request<Full<Bytes>>) -> Result<Answer> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.absent(operation, error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(operation, error))?;
        let serve = async {
            // What went wrong with it is the request's error as well.
            _ = connection.with_upgrades().await;
        };
        let connection = AbortOnDropHandle::new(tokio::spawn(serve));
        let response = sender.send_request(request).await.map_err(|error| self.broken(operation, error))?;
        Ok(Answer { response, _connection: connection })
    }

    /// What `work` answers, which is no work for an engine.
    pub(super) async fn soon<T>(
        &self,
        cx: &Context,
        operation: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match cx.bounded(operation, tokio::time::timeout(PATIENCE, work)).await? {
            Ok(done) => done,
            Err(_) => {
                let message = format!(
                    "the engine at `{}` does not answer within {} s",
                    self.socket.display(),
                    PATIENCE.as_secs()
                );
                Err(Error::new(ErrorKind::Unavailable, operation, message))
            }
        }
    }

    fn absent(&self, operation: &'static str, error: io::Error) -> Error {
        let at = self.socket.display();
        let (kind, message, advice) = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => (
                ErrorKind::NotFound,
                format!("no Docker Engine listens at `{at}`"),
                "start it, or name its socket, for instance by `DOCKER_HOST=unix://PATH`; nothing was built",
            ),
            io::ErrorKind::PermissionDenied => (
                ErrorKind::PermissionDenied,
                format!("the Docker Engine at `{at}` does not let this user in"),
                "join the group that owns the socket (usually `docker`), or use a rootless engine; nothing was built",
            ),
            _ => (ErrorKind::Unavailable, format!("the Docker Engine at `{at}` cannot be reached"), "see that it runs"),
        };
        Error::new(kind, operation, message).with_source(error).advice(advice)
    }

    pub(super) fn broken(&self, operation: &'static str, error: hyper::Error) -> Error {
        let message = format!("the connection to the engine at `{}` broke off", self.socket.display());
        Error::new(ErrorKind::Unavailable, operation, message).with_source(error).advice("see that the engine runs")
    }
}

impl Answer {
    /// The whole of a short answer.
    pub(super) async fn whole(self, engine: &Engine, operation: &'static str) -> Result<Bytes> {
        let Self { response, _connection } = self;
        let read = Limited::new(response.into_body(), ANSWER).collect().await;
        read.map(http_body_util::Collected::to_bytes).map_err(|error| {
            let message = format!("the answer of the engine at `{}` cannot be read", engine.socket.display());
            Error::new(ErrorKind::Unavailable, operation, message).with_source(error)
        })
    }

    async fn refusal(self, engine: &Engine, operation: &'static str) -> Error {
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        let status = self.response.status();
        let kind = match status {
            StatusCode::BAD_REQUEST => ErrorKind::InvalidInput,
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::CONFLICT => ErrorKind::Conflict,
            StatusCode::SERVICE_UNAVAILABLE => ErrorKind::Unavailable,
            _ => ErrorKind::CommandFailed,
        };
        let said = self.whole(engine, operation).await.unwrap_or_default();
        let said = serde_json::from_slice::<Refusal>(&said)
            .map_or_else(|_| String::from_utf8_lossy(&said).trim().to_owned(), |refusal| refusal.message);
        Error::new(kind, operation, format!("the engine refused: {said}"))
            .with("status", status)
            .with("engine", engine.socket.display())
    }
}

impl Version {
    /// What it lacks to build.
    fn lacks(&self) -> Option<&'static str> {
        let number = self.api_version.split_once('.');
        let number = number.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        if self.components.iter().any(|component| component.name.contains("Podman")) {
            Some("is Podman, which has no BuildKit")
        } else if number.is_none_or(|number: (u32, u32)| number < OLDEST) {
            Some("is too old to have BuildKit")
        } else if !["", "linux"].contains(&self.os.as_str()) {
            Some("is not one for Linux, and has no BuildKit")
        } else {
            None
        }
    }
}

/// Targets are made here, of what was encoded: one that is none is too long.
fn request(operation: &'static str, method: Method, target: &str) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().map_err(|error: http::uri::InvalidUri| {
        let message = format!("a request of {} bytes cannot be made: {error}", target.len());
        Error::invalid(operation, message).with_source(error)
    })?;
    request.headers_mut().insert(HOST, http::HeaderValue::from_static("docker"));
    request.headers_mut().insert(CONTENT_LENGTH, http::HeaderValue::from_static("0"));
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_without_buildkit_are_told_from_others() {
        let lacks = |text: &str| serde_json::from_str::<Version>(text).unwrap().lacks();
        assert_eq!(lacks(r#"{"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux"}"#), None);
        assert_eq!(lacks(r#"{"Version": "18.09.0", "ApiVersion": "1.39", "Os": "linux"}"#), None);
        for (text, lack) in [
            (r#"{"Version": "18.06.0", "ApiVersion": "1.38", "Os": "linux"}"#, "too old"),
            (r#"{"Version": "24.0.0", "ApiVersion": "1.43", "Os": "windows"}"#, "Linux"),
            (r#"{"Version": "4.9.0", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]}"#, "Podman"),
            (r#"{"Version": "?", "ApiVersion": "x"}"#, "too old"),
        ] {
            assert!(lacks(text).unwrap().contains(lack), "{text}");
        }
    }

    #[test]
    fn an_address_may_be_so_long_and_no_longer() {
        let of = |length: usize| request("test", Method::GET, &format!("/{}", "x".repeat(length - 1))).map(drop);
        of(ADDRESS).unwrap();
        assert_eq!(of(ADDRESS + 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn only_sockets_of_this_machine_are_taken_from_the_environment() {
        let socket = |host| Engine::standard("test", host).map(|engine| engine.socket);
        assert_eq!(socket(None).unwrap(), Path::new(STANDARD));
        assert_eq!(socket(Some("")).unwrap(), Path::new(STANDARD));
        assert_eq!(socket(Some("unix:///run/user/1/docker.sock")).unwrap(), Path::new("/run/user/1/docker.sock"));
        assert_eq!(socket(Some("tcp://10.0.0.1:2375")).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
