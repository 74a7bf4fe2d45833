//! A registry in memory behind a real socket, with the faults that a real one shows rarely.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use ecolaura_deploy_core::vocabulary::Digest;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};

use super::logins::Logins;

pub(crate) type Answer = Response<Full<Bytes>>;

/// Stops with the value.
#[derive(Debug)]
pub(crate) struct FakeRegistry {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    blobs: BTreeMap<(String, String), Bytes>,
    manifests: BTreeMap<(String, String), (String, Bytes)>,
    pub(crate) tags: BTreeMap<(String, String), String>,
    /// Uploads that are open, with what came of each.
    pub(crate) sessions: BTreeMap<String, Vec<u8>>,
    /// What was appended: to which session, from where to where, as the request says and as it is.
    pub(crate) appended: Vec<(String, String, usize)>,
    /// How a blob in one request is refused.
    pub(crate) refuses_whole: Option<u16>,
    /// The most bytes that a request may have.
    pub(crate) largest: Option<usize>,
    /// The fewest bytes that a piece may have, but for the last one.
    pub(crate) least: Option<usize>,
    /// Loses the last byte of the next piece.
    pub(crate) forgetful: bool,
    next: u64,
    /// `Content-Range` of the request that is served.
    range: String,
    /// Each request: `PUT /v2/a/manifests/v1`.
    pub(crate) log: Vec<String>,
    faults: Vec<Fault>,
    pub(crate) referrers: bool,
    /// How many entries of a list are sent at a time.
    pub(crate) page: Option<usize>,
    /// Where each page says that the next one is.
    pub(crate) next_page: Option<String>,
    /// How a tag that is set is refused.
    pub(crate) immutable: Option<(u16, Value)>,
    pub(crate) logins: Option<Logins>,
    /// Where blobs are sent from.
    pub(crate) storage: Option<String>,
    /// Where blobs are to be sent.
    pub(crate) uploads: Option<String>,
    /// The logins that came with blobs, here or there.
    pub(crate) carried: Vec<Option<String>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Instead of doing it.
    Answer { status: u16, retry_after: Option<&'static str>, body: String },
    /// Does it, and answers this status.
    DoAndAnswer(u16),
    /// Takes some of the body and breaks off.
    Reset,
    /// Takes at least so many bytes of it before.
    ResetAfter(usize),
    /// Does it, and names another digest.
    Misname,
    /// Sends other bytes.
    Damage,
    /// Never answers.
    Hang,
    /// Forgets all tokens first.
    ForgetTokens,
    /// Does it, and refuses.
    RefuseAfterDoing { status: u16, body: String },
    /// Wants to be logged in to like this.
    Challenge(&'static str),
    /// Does it, and forgets a manifest.
    RemoveManifest(String),
    /// Moves the tag somewhere else, does nothing and answers 500.
    MoveTag(String),
}

impl Act {
    fn makes_the_client_wait(&self) -> bool {
        matches!(
            self,
            Self::Hang
                | Self::Answer { .. }
                | Self::DoAndAnswer(_)
                | Self::Reset
                | Self::ResetAfter(_)
                | Self::Misname
                | Self::Damage
        )
    }
}

#[derive(Debug)]
struct Fault {
    method: Method,
    part: String,
    times: usize,
    act: Act,
}

impl FakeRegistry {
    pub(crate) async fn start() -> Self {
        Self::start_with(|stream| async { Some(stream) }).await
    }

    /// With something between the socket and HTTP, like TLS.
    pub(crate) async fn start_with<S, F>(wrap: impl Fn(tokio::net::TcpStream) -> F + Send + Clone + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { referrers: true, ..State::default() }));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, wrap) = (Arc::clone(&shared), wrap.clone());
                tokio::spawn(async move {
                    let Some(stream) = wrap(stream).await else { return };
                    let service = service_fn(move |request| handle(Arc::clone(&state), address, request));
                    _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, state, serving }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next `times` requests of `method` whose address contains `part` go wrong.
    pub(crate) fn fault(&self, method: Method, part: &str, times: usize, act: Act) {
        self.state().faults.push(Fault { method, part: part.to_owned(), times, act });
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.state().faults.clear();
    }

    /// How many requests of `method` had `part` in their address.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let wanted = |line: &&String| line.starts_with(&format!("{method} ")) && line.contains(part);
        self.state().log.iter().filter(wanted).count()
    }

    pub(crate) fn holds_manifest(&self, digest: Digest) -> bool {
        self.state().manifests.keys().any(|(_, held)| *held == digest.to_string())
    }

    pub(crate) fn holds_blob(&self, content: &[u8]) -> bool {
        let digest = Digest::of(content).to_string();
        self.state().blobs.iter().any(|((_, held), blob)| *held == digest && blob == content)
    }

    /// The digests of manifests in the order in which they came.
    pub(crate) fn manifests_put(&self) -> Vec<String> {
        let state = self.state();
        let puts = state.log.iter().filter_map(|line| line.strip_prefix("PUT ")?.split_once("/manifests/sha256:"));
        puts.map(|(_, hex)| format!("sha256:{hex}")).collect()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

pub(crate) fn named(status: u16, code: &str, message: &str) -> Answer {
    answer(status, json!({"errors": [{"code": code, "message": message}]}).to_string())
}

pub(crate) fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn handle(state: Arc<Mutex<State>>, address: SocketAddr, request: Request<Incoming>) -> Result<Answer, Failure> {
    let (parts, mut body) = request.into_parts();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    super::clock::resume(&target);
    let act = state.lock().unwrap().begin(&parts.method, &target);
    if act.as_ref().is_some_and(Act::makes_the_client_wait) {
        super::clock::pause(&target);
    }
    match &act {
        Some(Act::Reset) => {
            _ = body.frame().await;
            return Err("reset".into());
        }
        Some(Act::ResetAfter(most)) => {
            let mut taken = 0;
            while taken < *most
                && let Some(frame) = body.frame().await
            {
                taken += frame?.data_ref().map_or(0, Bytes::len);
            }
            return Err("reset".into());
        }
        Some(Act::Hang) => std::future::pending::<()>().await,
        _ => {}
    }
    let body = body.collect().await?.to_bytes();
    let header = |name| parts.headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let (kind, login) = (header(header::CONTENT_TYPE).unwrap_or_default(), header(header::AUTHORIZATION));
    let range = header(header::CONTENT_RANGE).unwrap_or_default().to_owned();
    let mut state = state.lock().unwrap();
    state.range = range;
    if let Some(answer) = act.as_ref().and_then(|act| state.instead(&target, act)) {
        return Ok(answer);
    }
    if let Some(refused) = state.logins.as_mut().and_then(|logins| logins.check(address, &parts.uri, login, &body)) {
        return Ok(refused);
    }
    let done = state.serve(&parts.method, &target, (kind, login), body);
    Ok(match act {
        Some(act) => state.afterwards(act, done),
        None => done,
    })
}

impl State {
    /// What is to go wrong with this request.
    fn begin(&mut self, method: &Method, target: &str) -> Option<Act> {
        self.log.push(format!("{method} {target}"));
        let meant = |fault: &&mut Fault| fault.times > 0 && fault.method == *method && target.contains(&fault.part);
        let fault = self.faults.iter_mut().find(meant)?;
        fault.times -= 1;
        Some(fault.act.clone())
    }

    /// What is answered without doing anything.
    fn instead(&mut self, target: &str, act: &Act) -> Option<Answer> {
        match act {
            Act::Answer { status, retry_after, body } => {
                let answer = answer(*status, body.clone());
                Some(retry_after.iter().fold(answer, |answer, after| with(answer, "retry-after", after)))
            }
            Act::Challenge(challenge) => Some(with(answer(401, ""), "www-authenticate", challenge)),
            Act::MoveTag(to) => {
                let (repository, tag) = target[4..].split_once("/manifests/").unwrap();
                self.tags.insert((repository.to_owned(), tag.to_owned()), to.clone());
                Some(answer(500, ""))
            }
            Act::ForgetTokens => {
                self.logins.as_mut().unwrap().forget();
                None
            }
            _ => None,
        }
    }

    /// What is answered after it was done.
    fn afterwards(&mut self, act: Act, done: Answer) -> Answer {
        match act {
            Act::DoAndAnswer(status) => answer(status, ""),
            Act::RefuseAfterDoing { status, body } => answer(status, body),
            Act::Misname => with(done, "docker-content-digest", &Digest::of("something else").to_string()),
            Act::Damage => answer(200, "something else"),
            Act::RemoveManifest(digest) => {
                self.manifests.retain(|(_, held), _| *held != digest);
                done
            }
            _ => done,
        }
    }
}

impl State {
    pub(crate) fn media_type(&self, digest: &str) -> String {
        self.manifests.iter().find(|((_, held), _)| held == digest).unwrap().1.0.clone()
    }

    fn serve(&mut self, method: &Method, target: &str, (kind, login): (&str, Option<&str>), body: Bytes) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.into(), plain(value)))
            .collect();
        if let Some(digest) = path.strip_prefix("/storage/") {
            self.carried.push(login.map(str::to_owned));
            let blob = self.blobs.iter().find(|((_, held), _)| held == digest).unwrap();
            return answer(200, blob.1.clone());
        }
        let rest = path.strip_prefix("/v2/").unwrap_or_default();
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return self.list_tags(repository, &query);
        }
        for part in ["/blobs/uploads/", "/blobs/", "/manifests/", "/referrers/"] {
            let Some((repository, last)) = rest.split_once(part) else { continue };
            return match part {
                "/blobs/uploads/" => {
                    if *method == Method::PUT {
                        self.carried.push(login.map(str::to_owned));
                    }
                    self.upload(method, (repository, last), &query, &body)
                }
                "/blobs/" => self.blob(method, repository, last),
                "/manifests/" => self.manifest(method, (repository, last), kind, body),
                _ => self.list(repository, last, &query),
            };
        }
        named(404, "NOT_FOUND", "no such address")
    }

    fn upload(
        &mut self,
        method: &Method,
        (repository, session): (&str, &str),
        query: &BTreeMap<String, String>,
        body: &Bytes,
    ) -> Answer {
        if *method == Method::POST {
            if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from"))
                && let Some(blob) = self.blobs.get(&(from.clone(), digest.clone())).cloned()
            {
                self.blobs.insert((repository.to_owned(), digest.clone()), blob);
                return with(answer(201, ""), "docker-content-digest", digest);
            }
            self.next += 1;
            let session = format!("session-{}", self.next);
            self.sessions.insert(session.clone(), Vec::new());
            let host = self.uploads.as_deref().unwrap_or_default();
            let location = format!("{host}/v2/{repository}/blobs/uploads/{session}?state=x");
            let opened = with(answer(202, ""), "location", &location);
            return match self.least {
                Some(least) => with(opened, "oci-chunk-min-length", &least.to_string()),
                None => opened,
            };
        }
        if *method == Method::PUT
            && !body.is_empty()
            && let Some(status) = self.refuses_whole
        {
            return answer(status, "");
        }
        let Some(mut held) = self.sessions.remove(session) else {
            return named(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
        };
        if self.largest.is_some_and(|largest| body.len() > largest) {
            self.sessions.insert(session.to_owned(), held);
            return answer(413, "");
        }
        held.extend_from_slice(body);
        match *method {
            Method::DELETE => return answer(204, ""),
            Method::PATCH => return self.append((repository, session), held, body.len()),
            _ => {}
        }
        let body = Bytes::from(held);
        let digest = Digest::of(&body).to_string();
        if query.get("digest") != Some(&digest) {
            return named(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        self.blobs.insert((repository.to_owned(), digest.clone()), body);
        with(answer(201, ""), "docker-content-digest", &digest)
    }

    fn append(&mut self, (repository, session): (&str, &str), mut held: Vec<u8>, length: usize) -> Answer {
        let start = held.len() - length;
        let announced = std::mem::take(&mut self.range);
        self.appended.push((session.to_owned(), announced.clone(), length));
        if announced != format!("{start}-{}", held.len() - 1) {
            return answer(416, "");
        }
        if std::mem::take(&mut self.forgetful) {
            held.pop();
        }
        let range = format!("0-{}", held.len() - 1);
        self.sessions.insert(session.to_owned(), held);
        let location = format!("/v2/{repository}/blobs/uploads/{session}?state={range}");
        with(with(answer(202, ""), "location", &location), "range", &range)
    }

    fn blob(&self, method: &Method, repository: &str, digest: &str) -> Answer {
        match (self.blobs.get(&(repository.to_owned(), digest.to_owned())), &self.storage) {
            (None, _) => named(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            (Some(_), Some(storage)) if *method == Method::GET => {
                with(answer(307, ""), "location", &format!("{storage}/storage/{digest}"))
            }
            (Some(blob), _) => with(answer(200, blob.clone()), "docker-content-digest", digest),
        }
    }

    fn manifest(&mut self, method: &Method, (repository, reference): (&str, &str), kind: &str, body: Bytes) -> Answer {
        let key = |last: &str| (repository.to_owned(), last.to_owned());
        let found = match reference.starts_with("sha256:") {
            true => Some(reference.to_owned()),
            false => self.tags.get(&key(reference)).cloned(),
        };
        if *method == Method::DELETE && reference.starts_with("sha256:") {
            self.tags.retain(|(held, _), digest| held != repository || digest != reference);
            return match self.manifests.remove(&key(reference)) {
                Some(_) => answer(202, ""),
                None => named(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            };
        }
        if *method == Method::DELETE {
            self.tags.remove(&key(reference));
            return answer(202, "");
        }
        if *method != Method::PUT {
            let found = found.and_then(|digest| self.manifests.get_key_value(&key(&digest)));
            let Some(((_, digest), (kind, bytes))) = found else {
                return named(404, "MANIFEST_UNKNOWN", "manifest unknown");
            };
            return with(with(answer(200, bytes.clone()), "docker-content-digest", digest), "content-type", kind);
        }
        let digest = Digest::of(&body).to_string();
        if reference.starts_with("sha256:") {
            if reference != digest {
                return named(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
            }
        } else if let (Some(_), Some((status, said))) = (found, &self.immutable) {
            return answer(*status, said.to_string());
        }
        let document: Value = serde_json::from_slice(&body).unwrap();
        if let Some(missing) = self.missing(repository, &document) {
            return named(404, "MANIFEST_BLOB_UNKNOWN", &missing);
        }
        if !reference.starts_with("sha256:") {
            self.tags.insert(key(reference), digest.clone());
        }
        self.manifests.insert(key(&digest), (kind.to_owned(), body));
        let stored = with(answer(201, ""), "docker-content-digest", &digest);
        match document["subject"]["digest"].as_str().filter(|_| self.referrers) {
            Some(subject) => with(stored, "oci-subject", subject),
            None => stored,
        }
    }

    /// What `document` names and is not there.
    fn missing(&self, repository: &str, document: &Value) -> Option<String> {
        let named = |entry: &Value| entry["digest"].as_str().unwrap().to_owned();
        let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
        let config = document.get("config").cloned();
        let blobs = list("layers").into_iter().chain(config).map(|entry| named(&entry));
        let blob = |digest: &String| self.blobs.contains_key(&(repository.to_owned(), digest.clone()));
        let manifest = |digest: &String| self.manifests.contains_key(&(repository.to_owned(), digest.clone()));
        let mut blobs = blobs.filter(|digest| !blob(digest));
        let children = list("manifests").into_iter().map(|entry| named(&entry)).filter(|digest| !manifest(digest));
        blobs.next().or_else(|| {
            let mut children = children;
            children.next()
        })
    }

    fn list_tags(&self, repository: &str, query: &BTreeMap<String, String>) -> Answer {
        let tags = self.tags.keys().filter(|(held, _)| held == repository);
        let tags: Vec<Value> = tags.map(|(_, tag)| json!(tag)).collect();
        if tags.is_empty() {
            return named(404, "NAME_UNKNOWN", "repository name not known to registry");
        }
        self.paged(
            &format!("/v2/{repository}/tags/list"),
            &tags,
            query,
            |tags| json!({"name": repository, "tags": tags}),
        )
    }

    /// The entries from `last` on, and where the next ones are.
    fn paged(
        &self,
        path: &str,
        entries: &[Value],
        query: &BTreeMap<String, String>,
        body: impl Fn(&[Value]) -> Value,
    ) -> Answer {
        let asked = query.get("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let size = self.page.unwrap_or(usize::MAX).min(asked);
        let start: usize = query.get("last").and_then(|last| last.parse().ok()).unwrap_or_default();
        let end = start.saturating_add(size).min(entries.len());
        let page = answer(200, body(&entries[start..end]).to_string());
        if end == entries.len() {
            return page;
        }
        let next = self.next_page.clone().unwrap_or_else(|| format!("{path}?last={end}&n={size}"));
        with(page, "link", &format!("<{next}>; rel=\"next\""))
    }

    fn list(&self, repository: &str, subject: &str, query: &BTreeMap<String, String>) -> Answer {
        if !self.referrers {
            return answer(404, "404 page not found");
        }
        let held = self.manifests.iter().filter(|((held, _), _)| held == repository);
        let entries: Vec<Value> = held
            .filter_map(|((_, digest), (kind, bytes))| {
                let document: Value = serde_json::from_slice(bytes).unwrap();
                (document["subject"]["digest"] == subject).then(|| {
                    json!({"mediaType": kind, "digest": digest, "size": bytes.len(), "artifactType": document["artifactType"]})
                })
            })
            .collect();
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = |entries: &[Value]| json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
        self.paged(&format!("/v2/{repository}/referrers/{subject}"), &entries, query, index)
    }
}

/// Without percent-encoding.
fn plain(text: &str) -> String {
    text.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",").replace('+', " ")
}
