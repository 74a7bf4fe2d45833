//! The HTTP server: accepts, answers, and ends without losing a request.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    task::{JoinError, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    Call, Config, Database, Flags, Level, Log, Misbehaviour, Problem, Reply, Route, State,
    http::{self, Found},
    metrics::Metrics,
    misbehave::EverySecond,
};

/// A body may have this many bytes.
const BODY: usize = 64 * 1024;
/// Between the signal to end and the end of listening: whoever sends requests learns meanwhile that it is not ready.
const GRACE: Duration = Duration::from_millis(300);
/// Nobody has connected for this time: nobody is on the way any more.
const QUIET: Duration = Duration::from_millis(50);
/// After that, requests in flight may take this long.
const DRAIN: Duration = Duration::from_secs(10);
/// A connection without a request is closed after this time.
const IDLE: Duration = Duration::from_secs(90);

/// Which build this is.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The service.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
}

struct Service {
    about: About,
    config: Config,
    routes: &'static [Route],
    state: State,
    metrics: Metrics,
    turns: EverySecond,
    ending: AtomicBool,
    log: Log,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.about.fmt(f)
    }
}

/// Serves `routes`, configured by the environment, until SIGTERM or SIGINT.
pub fn run(about: About, routes: &'static [Route]) -> ExitCode {
    let log = Log::new(about.service, Level::Info);
    let config = match Config::read(|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(problems) => {
            log.write(Level::Error, "the environment is not usable", json!({"problems": problems}));
            return ExitCode::from(64);
        }
    };
    let log = Log::new(about.service, config.level);
    let service = Arc::new(Service {
        about,
        routes,
        state: State { database: Database::new(&config.database), flags: Flags::new(config.flags.clone()) },
        metrics: Metrics::new(),
        turns: EverySecond::default(),
        ending: AtomicBool::new(false),
        log,
        config,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve(service))) {
        Ok(code) => code,
        Err(error) => {
            log.write(Level::Error, "the service cannot run", json!({"cause": error.to_string()}));
            ExitCode::FAILURE
        }
    }
}

async fn serve(service: Arc<Service>) -> io::Result<ExitCode> {
    let Config { host, port, misbehaviour, .. } = service.config;
    let log = service.log;
    if misbehaviour == Misbehaviour::Crash {
        sleep(Duration::from_millis(200)).await;
        log.write(Level::Error, "ending by MISBEHAVE=crash", Value::Null);
        return Ok(ExitCode::from(70));
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind((host, port)).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {host}:{port} (HOST and PORT): {error}"))
    })?;
    let address = listener.local_addr()?.to_string();
    log.write(Level::Info, "listening", json!({"address": address, "version": service.about.version}));
    let graceful = GracefulShutdown::new();
    let accepting = accept(&listener, &service, &graceful);
    let ending = async {
        either(terminate.recv(), interrupt.recv()).await;
        service.ending.store(true, Ordering::Relaxed);
        log.write(Level::Info, "ending", Value::Null);
        sleep(GRACE).await;
    };
    either(accepting, ending).await;
    // Who has connected already is still served: the end of listening would reset these connections.
    let waiting = accept_until_quiet(&listener, &service, &graceful);
    let _ = timeout(GRACE, waiting).await;
    drop(listener);
    // Whoever connected last has sent its request by then; idle connections are closed next.
    sleep(QUIET).await;
    let drained = timeout(DRAIN, graceful.shutdown()).await.is_ok();
    log.write(Level::Info, "ended", json!({"drained": drained}));
    Ok(ExitCode::SUCCESS)
}

async fn either<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    std::future::poll_fn(|context| match one.as_mut().poll(context) {
        std::task::Poll::Pending => other.as_mut().poll(context),
        ready @ std::task::Poll::Ready(_) => ready,
    })
    .await
}

async fn accept_until_quiet(listener: &TcpListener, service: &Arc<Service>, graceful: &GracefulShutdown) {
    while let Ok(Ok((stream, _))) = timeout(QUIET, listener.accept()).await {
        connect(stream, Arc::clone(service), graceful);
    }
}

async fn accept(listener: &TcpListener, service: &Arc<Service>, graceful: &GracefulShutdown) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connect(stream, Arc::clone(service), graceful),
            Err(error) => {
                service.log.write(Level::Warn, "cannot accept", json!({"cause": error.to_string()}));
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn connect(stream: TcpStream, service: Arc<Service>, graceful: &GracefulShutdown) {
    let _ = stream.set_nodelay(true);
    let handler = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), handler);
    let watched = graceful.watch(connection);
    // A caller that breaks off is its own business.
    tokio::spawn(async move { watched.await.ok() });
}

impl Service {
    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let ending = self.ending.load(Ordering::Relaxed);
        let own = if request.method() == Method::GET { request.uri().path() } else { "" };
        let About { service, version } = self.about;
        let track = self.config.track.as_deref().and_then(|track| HeaderValue::from_str(track).ok());
        let mut response = match own {
            "/healthz" => json_response(&Reply::ok(json!({"status": "alive"}))),
            "/readyz" => json_response(&self.ready().await),
            "/version" => json_response(&Reply::ok(json!({"service": service, "version": version}))),
            "/metrics" => text_response("text/plain; version=0.0.4", self.metrics.page(&self.about)),
            _ => self.api(request).await,
        };
        // Pages of the site are another origin.
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if let Some(track) = track {
            response.headers_mut().insert(HeaderName::from_static("x-ecolaura-track"), track);
        }
        if ending {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn ready(self: &Arc<Self>) -> Reply {
        match self.readiness().await {
            Ok(schema) => Reply::ok(json!({"status": "ready", "schema": schema})),
            Err(reason) => {
                self.log.write(Level::Warn, "not ready", json!({"reason": reason}));
                Reply {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    body: json!({"status": "not ready", "reason": reason}),
                }
            }
        }
    }

    /// The schema's version, or why requests cannot be served.
    async fn readiness(self: &Arc<Self>) -> Result<i64, String> {
        if self.ending.load(Ordering::Relaxed) {
            return Err("the service is ending".to_owned());
        }
        if self.config.misbehaviour == Misbehaviour::Unready {
            return Err("MISBEHAVE=unready".to_owned());
        }
        let service = Arc::clone(self);
        let check = spawn_blocking(move || service.state.database.check()).await;
        check.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn api(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let (method, path, reply) = match http::find(self.routes, request.method().as_str(), request.uri().path()) {
            Found::Route(route, id) => (route.method, route.path, Arc::clone(&self).call(route, id, request).await),
            Found::OtherMethod(allowed) if request.method() == Method::OPTIONS => return preflight(&allowed),
            Found::OtherMethod(allowed) => {
                let message = format!("this path answers {}", allowed.join(", "));
                ("other", "other", Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)))
            }
            Found::Nothing => ("other", "other", Err(Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))),
        };
        let (reply, cause) = match reply {
            Ok(reply) => (reply, None),
            Err(problem) => (problem.reply(), problem.cause),
        };
        let (code, time) = (reply.status.as_u16(), began.elapsed());
        self.metrics.count(method, path, code, time);
        let level = if reply.status.is_server_error() { Level::Error } else { Level::Info };
        let mut fields = json!({"method": method, "path": path, "code": code, "seconds": time.as_secs_f64()});
        if let Some(cause) = cause {
            fields["cause"] = cause.into();
        }
        self.log.write(level, "request", fields);
        json_response(&reply)
    }

    async fn call(self: Arc<Self>, route: Route, id: i64, request: Request<Incoming>) -> Result<Reply, Problem> {
        match self.config.misbehaviour {
            Misbehaviour::Errors if self.turns.next() => {
                return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "MISBEHAVE=errors"));
            }
            Misbehaviour::Slow => sleep(Duration::from_millis(500)).await,
            _ => {}
        }
        let admin = self.is_admin(request.headers().get(header::AUTHORIZATION));
        let too_large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {BODY} bytes"));
        let body = Limited::new(request.into_body(), BODY).collect().await.map_err(too_large)?.to_bytes().to_vec();
        let work = move || (route.answer)(&self.state, &Call { id, body, admin });
        let failed = |error: JoinError| Problem {
            cause: Some(error.to_string()),
            ..Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be answered")
        };
        spawn_blocking(work).await.map_err(failed)?
    }

    fn is_admin(&self, header: Option<&HeaderValue>) -> bool {
        let given = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        given.zip(self.config.token.as_deref()).is_some_and(|(given, token)| same(given, token))
    }
}

/// Compares in a time that does not tell where the texts differ.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |found, (a, b)| found | (a ^ b)) == 0
}

fn json_response(reply: &Reply) -> Response<Full<Bytes>> {
    let mut response = text_response("application/json", format!("{}\n", reply.body));
    *response.status_mut() = reply.status;
    response
}

fn text_response(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Lets pages of the site, which is another origin, call the API.
fn preflight(allowed: &[&str]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    if let Ok(methods) = HeaderValue::from_str(&allowed.join(", ")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn tokens_are_compared_as_a_whole() {
        assert!(same("secret", "secret"));
        for other in ["", "secre", "secret2", "Secret"] {
            assert!(!same(other, "secret"), "{other}");
        }
    }
}
