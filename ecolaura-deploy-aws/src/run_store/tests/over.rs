//! S3 over a run store, for whole simulations: what it keeps is on their disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    store::{Created, RunStore},
};

use super::PREFIX;
use crate::publish::fake::{Asked, Fate, refusal, response, tag};

/// How many keys a page has.
pub(super) const PAGE: usize = 50;

/// What happens to the nth request of this kind, and after how long.
type Fates = dyn Fn(&str, u32) -> (Duration, Fate) + Send + Sync;

/// How the store treats conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    Good,
    /// It writes over what exists.
    Careless,
    /// It takes what was removed for existing.
    Bearing,
}

#[derive(Default)]
struct Seen {
    counts: BTreeMap<String, u32>,
    log: Vec<String>,
    removed: BTreeSet<String>,
}

/// The fake. Clones are the same bucket.
#[derive(Clone)]
pub(super) struct S3Over {
    store: Arc<dyn RunStore>,
    fates: Arc<Fates>,
    manners: Manners,
    seen: Arc<Mutex<Seen>>,
}

impl fmt::Debug for S3Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Over")
    }
}

impl S3Over {
    pub(super) fn new(store: Arc<dyn RunStore>) -> Self {
        let fates: Arc<Fates> = Arc::new(|_, _| (Duration::ZERO, Fate::Answered));
        Self { store, fates, manners: Manners::Good, seen: Arc::default() }
    }

    pub(super) fn fates(self, fates: impl Fn(&str, u32) -> (Duration, Fate) + Send + Sync + 'static) -> Self {
        Self { fates: Arc::new(fates), ..self }
    }

    pub(super) fn manners(self, manners: Manners) -> Self {
        Self { manners, ..self }
    }

    pub(super) fn connector(&self) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.seen().log.clone()
    }

    pub(super) fn clear_log(&self) {
        self.seen().log.clear();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn count(&self, line: &str) -> u32 {
        let mut seen = self.seen();
        seen.log.push(line.to_owned());
        let count = seen.counts.entry(line.to_owned()).or_default();
        *count += 1;
        *count
    }

    async fn met(self, asked: Asked) -> Result<HttpResponse, ConnectorError> {
        let nth = self.count(&asked.line);
        let (pause, fate) = (self.fates)(&asked.line, nth);
        tokio::time::sleep(pause).await;
        match fate {
            Fate::Refused(status, code) => return Ok(refusal(status, code)),
            Fate::Silence => std::future::pending().await,
            Fate::Answered | Fate::Lost | Fate::Broken | Fate::Late(_) => {}
        }
        let answer = self.answer(&asked).await.unwrap_or_else(|error| failure(&error));
        match fate {
            Fate::Lost => Err(ConnectorError::io("the connection broke".into())),
            Fate::Broken => Ok(refusal(500, "InternalError")),
            Fate::Late(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }

    async fn answer(&self, asked: &Asked) -> Result<HttpResponse> {
        let key = asked.key.strip_prefix(PREFIX).and_then(|key| key.strip_prefix('/')).unwrap_or_default();
        match asked.method.as_str() {
            "GET" if asked.query.contains_key("list-type") => self.list(asked).await,
            "GET" => Ok(self.store.get(key).await?.map_or_else(|| refusal(404, "NoSuchKey"), |body| object(&body))),
            "PUT" => self.put(key, asked).await,
            "DELETE" => {
                self.store.remove(key).await?;
                self.seen().removed.insert(key.to_owned());
                Ok(response(204, ""))
            }
            _ => Ok(refusal(501, "NotImplemented")),
        }
    }

    async fn put(&self, key: &str, asked: &Asked) -> Result<HttpResponse> {
        let conditional = asked.headers.get("if-none-match").map(String::as_str) == Some("*");
        if !conditional || self.manners == Manners::Careless {
            self.store.remove(key).await?;
        }
        if self.manners == Manners::Bearing && self.seen().removed.contains(key) {
            return Ok(refusal(412, "PreconditionFailed"));
        }
        let present = self.store.get(key).await?.is_some();
        let created = match self.store.create(key, asked.body.clone().into()).await {
            Ok(created) => created,
            Err(error) => {
                // What can be read from S3 is durable: it keeps nothing that was not flushed.
                if !present {
                    self.store.remove(key).await?;
                }
                return Err(error);
            }
        };
        Ok(match created {
            Created::Yes if !present => object(&[]),
            _ => refusal(412, "PreconditionFailed"),
        })
    }

    async fn list(&self, asked: &Asked) -> Result<HttpResponse> {
        let asks = |name: &str| asked.query.get(name).cloned().unwrap_or_default();
        let (prefix, delimiter) = (asks("prefix"), asks("delimiter"));
        let after = asks("continuation-token").max(asks("start-after"));
        let folder = prefix.strip_prefix(PREFIX).unwrap_or_default().trim_matches('/');
        let keys = self.store.list(folder).await?.into_iter().map(|key| format!("{PREFIX}/{key}"));
        let mut found: Vec<String> = keys.map(|key| shortened(&key, &prefix, &delimiter)).collect();
        found.dedup();
        found.retain(|key| *key > after);
        let mut text = "<ListBucketResult>".to_owned();
        for key in found.iter().take(PAGE) {
            let told = if !delimiter.is_empty() && key.ends_with(&delimiter) {
                format!("<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>")
            } else {
                let moment = "2026-01-01T00:00:00.000Z";
                format!("<Contents><Key>{key}</Key><Size>1</Size><LastModified>{moment}</LastModified></Contents>")
            };
            text += &told;
        }
        if found.len() > PAGE {
            _ = write!(text, "<NextContinuationToken>{}</NextContinuationToken>", found[PAGE - 1]);
        }
        Ok(response(200, &(text + "</ListBucketResult>")))
    }
}

impl HttpConnector for S3Over {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().met(Asked::of(&request)))
    }
}

/// `key`, or what it begins with up to the first delimiter behind the prefix.
fn shortened(key: &str, prefix: &str, delimiter: &str) -> String {
    let rest = key.strip_prefix(prefix).unwrap_or_default();
    match rest.split_once(delimiter).filter(|_| !delimiter.is_empty()) {
        Some((name, _)) => format!("{prefix}{name}{delimiter}"),
        None => key.to_owned(),
    }
}

fn object(body: &[u8]) -> HttpResponse {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut answer = response(200, &text);
    answer.headers_mut().insert("etag", tag(body));
    answer.headers_mut().insert("content-length", body.len().to_string());
    answer
}

/// What the disk says, as S3 would.
fn failure(error: &Error) -> HttpResponse {
    match error.kind() {
        ErrorKind::PermissionDenied => refusal(403, "AccessDenied"),
        ErrorKind::LimitExceeded => refusal(403, "QuotaExceeded"),
        _ => refusal(500, "InternalError"),
    }
}
