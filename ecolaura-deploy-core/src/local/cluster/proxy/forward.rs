//! One request, from a caller to a pod and back.
//!
//! Each request has a connection of its own to its pod: nothing is ever sent on one that the pod may be closing. A
//! connection that is refused has carried nothing, so another pod is tried, whatever the method. After that only a
//! request that may be repeated, and has no body, is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, TE, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use http_body_util::{BodyExt as _, Either, Empty, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{
    drain::{Backend, Ticket},
    listener::Use,
    route::Router,
};
use crate::{backend::Track, vocabulary::ServiceName};

pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

type Outgoing = Either<Incoming, Empty<Bytes>>;

/// In each answer of a pod: `stable` or `candidate`, so that callers can count who served them.
const SERVED_BY: HeaderName = HeaderName::from_static("x-ecolaura-track");

/// How many times a request is given to a pod.
const TRIES: usize = 4;

/// How long a pod may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a pod may take until its answer begins.
const ANSWER: Duration = Duration::from_mins(10);

/// What belongs to one connection and is not passed on.
const HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "trailer"];

/// A port of a Service, and who chooses its pods.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) endpoint: ServiceName,
    pub(super) port: u16,
    pub(super) router: Arc<Router>,
    pub(super) used: Arc<Use>,
}

/// Why a try had no answer.
enum Failed {
    /// Nothing was sent.
    NotSent(String),
    /// The pod may have seen it.
    Sent(String),
}

/// Gives the request to a pod; an answer of the proxy itself says why there is none of a pod.
pub(super) async fn forward(way: &Way, peer: SocketAddr, mut request: Request<Incoming>) -> Response<Body> {
    let in_use = way.used.begin();
    let upgrade = wants_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    prepare(&mut head, peer, upgrade.is_some());
    let repeatable = body.is_end_stream() && upgrade.is_none() && is_idempotent(&head.method);
    let mut body = Some(if body.is_end_stream() { Either::Right(Empty::new()) } else { Either::Left(body) });
    let mut tried: Vec<Arc<Backend>> = Vec::new();
    let mut last = String::new();
    for round in 0..TRIES {
        let ticket = match way.router.pick(&tried) {
            Ok(ticket) => ticket,
            Err(why) if last.is_empty() => return refuse(StatusCode::SERVICE_UNAVAILABLE, &way.endpoint, &why),
            Err(_) => break,
        };
        if tried.iter().any(|pod| Arc::ptr_eq(pod, &ticket.0)) {
            tokio::time::sleep(Duration::from_millis(25 << round)).await;
        }
        tried.push(Arc::clone(&ticket.0));
        match attempt(way, &ticket, &head, &mut body).await {
            Ok(response) => return answer(response, upgrade, (ticket, in_use)),
            Err(Failed::NotSent(why)) => last = format!("pod {}: {why}", ticket.0.pod),
            Err(Failed::Sent(why)) if repeatable => {
                last = format!("pod {}: {why}", ticket.0.pod);
                body = Some(Either::Right(Empty::new()));
            }
            Err(Failed::Sent(why)) => {
                return refuse(StatusCode::BAD_GATEWAY, &way.endpoint, &format!("pod {}: {why}", ticket.0.pod));
            }
        }
    }
    refuse(StatusCode::BAD_GATEWAY, &way.endpoint, &last)
}

/// One try with one pod. The body is taken only once a connection stands.
async fn attempt(
    way: &Way,
    ticket: &Ticket,
    head: &Parts,
    body: &mut Option<Outgoing>,
) -> Result<Response<Incoming>, Failed> {
    let pod = &ticket.0;
    let target = pod.targets.get(&(way.endpoint.clone(), way.port));
    let target = *target.ok_or_else(|| Failed::NotSent(format!("its revision has no port {}", way.port)))?;
    let stream = match timeout(CONNECT, TcpStream::connect((pod.ip, target))).await {
        Ok(stream) => stream.map_err(|error| Failed::NotSent(error.to_string()))?,
        Err(_) => return Err(Failed::NotSent(format!("no connection within {CONNECT:?}"))),
    };
    _ = stream.set_nodelay(true);
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| Failed::NotSent(error.to_string()))?;
    tokio::spawn(connection.with_upgrades());
    let body = body.take().ok_or_else(|| Failed::Sent("the body was sent already".to_owned()))?;
    let request = Request::from_parts(head.clone(), body);
    match timeout(ANSWER, sender.send_request(request)).await {
        Ok(response) => response.map_err(|error| Failed::Sent(error.to_string())),
        Err(_) => Err(Failed::Sent(format!("no answer within {ANSWER:?}"))),
    }
}

/// The answer with the ticket in it, so that the pod counts as busy until the last byte has gone.
fn answer(
    mut response: Response<Incoming>,
    caller: Option<OnUpgrade>,
    hold: (Ticket, super::listener::InUse),
) -> Response<Body> {
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(caller)) = (response.status(), caller) {
        let pod = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(caller), Ok(pod)) = (caller.await, pod.await) {
                // Either side may break off; the other learns it by the end of its stream.
                _ = tokio::io::copy_bidirectional(&mut TokioIo::new(caller), &mut TokioIo::new(pod)).await;
            }
            drop(hold);
        });
        return response.map(|_| empty());
    }
    strip(response.headers_mut());
    let track = HeaderValue::from_static(match hold.0.1 {
        Track::Stable => "stable",
        Track::Candidate => "candidate",
    });
    response.headers_mut().insert(SERVED_BY, track);
    *response.version_mut() = Version::HTTP_11;
    response.map(|body| {
        body.map_frame(move |frame| {
            let _held = &hold;
            frame
        })
        .boxed_unsync()
    })
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn refuse(status: StatusCode, endpoint: &ServiceName, why: &str) -> Response<Body> {
    let text = format!("{endpoint}: {why}\n");
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(HeaderName::from_static("x-refused-by"), HeaderValue::from_static("ecolaura-deploy-proxy"));
    response
}

fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent()
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Removes what belongs to one connection, also what `Connection` names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers).filter_map(|token| token.parse().ok()).collect();
    for name in named.iter().filter(|name| *name != TRANSFER_ENCODING) {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(name);
    }
}

/// Makes the request one of this proxy's: path only, HTTP/1.1, who asked, and no header of the caller's connection.
fn prepare(head: &mut Parts, peer: SocketAddr, upgrade: bool) {
    let authority = head.uri.authority().map(ToString::to_string);
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    if let Ok(uri) = path.parse() {
        head.uri = uri;
    }
    head.version = Version::HTTP_11;
    let protocol = head.headers.get(UPGRADE).filter(|_| upgrade).cloned();
    strip(&mut head.headers);
    head.headers.remove(UPGRADE);
    head.headers.remove(TE);
    if let Some(protocol) = protocol {
        head.headers.insert(UPGRADE, protocol);
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if !head.headers.contains_key(HOST) {
        let host = authority.and_then(|host| HeaderValue::from_str(&host).ok());
        head.headers.insert(HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
    }
    let before = head.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let chain = before.map_or_else(|| peer.ip().to_string(), |before| format!("{before}, {}", peer.ip()));
    if let Ok(chain) = HeaderValue::from_str(&chain) {
        head.headers.insert("x-forwarded-for", chain);
    }
    head.headers.entry("x-forwarded-proto").or_insert(HeaderValue::from_static("http"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn peer() -> SocketAddr {
        ([127, 0, 0, 9], 5).into()
    }

    #[test]
    fn a_request_is_made_the_proxys_own() {
        let request = Request::get("http://backend:80/a?b").version(Version::HTTP_10);
        let request = request.header("connection", "keep-alive, X-Mine").header("x-mine", "1").header("te", "trailers");
        let mut head = head(request.header("x-forwarded-for", "10.0.0.1").header("keep-alive", "timeout=5"));
        prepare(&mut head, peer(), false);
        assert_eq!((head.uri.to_string().as_str(), head.version), ("/a?b", Version::HTTP_11));
        let mut headers: Vec<String> =
            head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        headers.sort();
        assert_eq!(
            headers,
            [
                "connection: close",
                "host: backend:80",
                "x-forwarded-for: 10.0.0.1, 127.0.0.9",
                "x-forwarded-proto: http"
            ]
        );
    }

    #[test]
    fn an_upgrade_keeps_what_it_needs() {
        let request = Request::get("/ws").header("connection", "Upgrade").header("upgrade", "websocket");
        let mut head = head(request.header("host", "a"));
        assert!(wants_upgrade(&head.headers));
        prepare(&mut head, peer(), true);
        assert_eq!(head.headers[UPGRADE], "websocket");
        assert_eq!(head.headers[CONNECTION], "upgrade");
    }
}
