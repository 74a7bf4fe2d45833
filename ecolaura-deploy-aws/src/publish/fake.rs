//! S3 for tests, behind the SDK's own client: objects in memory, conditional writes, uploads in parts, and failures at
//! the moments that the test names.

use std::{
    collections::BTreeMap,
    fmt,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::Response,
};
use aws_smithy_types::{body::SdkBody, date_time::Format};
use aws_types::{
    SdkConfig,
    sdk_config::{RequestChecksumCalculation, ResponseChecksumValidation},
};
use ecolaura_deploy_core::vocabulary::Digest;

use self::{cloudfront::FakeCloudFront, entries::FakeEntries};
use crate::{
    Account,
    account::{retries, timeouts},
};

mod cloudfront;
mod entries;
#[cfg(feature = "cloudfront")]
mod http;

pub(crate) const BUCKET: &str = "site-bucket";

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// Refused with this status and code, and without an effect.
    Refused(u16, &'static str),
    /// Done, and the answer is lost.
    Lost,
    /// Done, and answered with 500.
    Broken,
    /// Done, and answered after this many seconds.
    Late(u64),
    /// Nothing, for ever.
    Silence,
}

#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) content: Vec<u8>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) modified: i64,
}

#[derive(Debug, Default)]
struct Upload {
    key: String,
    headers: BTreeMap<String, String>,
    parts: BTreeMap<u32, Vec<u8>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    log: Vec<String>,
    drawn: u64,
    now: i64,
    /// A key that is refused from that number of requests on.
    expired: Option<(String, usize)>,
    /// Whether checksums in headers are refused.
    hostile: bool,
    /// Whether keys are listed in an order of its own.
    disordered: bool,
}

type Fates = dyn Fn(&str) -> Fate + Send + Sync;
type Watch = dyn Fn(&str) + Send + Sync;

/// The fake. Clones are the same bucket.
#[derive(Clone)]
pub(crate) struct FakeS3 {
    state: Arc<Mutex<State>>,
    fates: Arc<Mutex<Box<Fates>>>,
    watch: Arc<Mutex<Box<Watch>>>,
    cloudfront: Arc<Mutex<FakeCloudFront>>,
    entries: Arc<Mutex<FakeEntries>>,
}

impl fmt::Debug for FakeS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeS3")
    }
}

/// A request, as far as this store understands it.
pub(crate) struct Asked {
    /// `PUT key`, with the words of the query that tell what it is.
    pub(crate) line: String,
    pub(crate) method: String,
    pub(crate) key: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let uri = request.uri().to_owned();
        let path = uri.splitn(4, '/').nth(3).unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let key = decoded(path.strip_prefix(BUCKET).unwrap_or(path).trim_start_matches('/'));
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query: BTreeMap<_, _> = pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
        let headers = request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let method = request.method().to_owned();
        let kind = ["uploads", "uploadId", "delete", "list-type"].into_iter().find(|name| query.contains_key(*name));
        let line = format!("{method} {key}{}", kind.map(|kind| format!("?{kind}")).unwrap_or_default());
        let body = request.body().bytes().unwrap_or_default().to_vec();
        Self { line, method, key, query, headers, body }
    }

    /// Whether the body is what the signature says, if it says anything of it.
    fn is_as_signed(&self) -> bool {
        let signed = self.headers.get("x-amz-content-sha256").filter(|signed| signed.len() == 64);
        signed.is_none_or(|signed| *signed == Digest::of(&self.body).to_hex())
    }

    /// What S3 says of keys and metadata that are too long: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>.
    fn beyond_limits(&self) -> Option<&'static str> {
        let metadata =
            self.headers.iter().filter_map(|(name, value)| Some(name.strip_prefix("x-amz-meta-")?.len() + value.len()));
        match metadata.sum::<usize>() {
            _ if self.key.len() > 1024 => Some("KeyTooLongError"),
            2049.. => Some("MetadataTooLarge"),
            _ => None,
        }
    }

    fn has_checksum(&self) -> bool {
        let of_header = |name: &String| name.starts_with("x-amz-checksum") || name.starts_with("x-amz-sdk-checksum");
        !self.has("delete") && self.headers.keys().any(of_header)
    }

    fn has(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }
}

impl FakeS3 {
    pub(crate) fn new() -> Self {
        let fates: Box<Fates> = Box::new(|_| Fate::Answered);
        let watch: Box<Watch> = Box::new(|_| {});
        let (fates, watch) = (Arc::new(Mutex::new(fates)), Arc::new(Mutex::new(watch)));
        Self { state: Arc::default(), fates, watch, cloudfront: Arc::default(), entries: Arc::default() }
    }

    pub(crate) fn cloudfront(&self) -> MutexGuard<'_, FakeCloudFront> {
        self.cloudfront.lock().unwrap()
    }

    #[cfg_attr(not(feature = "key-value-store"), expect(dead_code, reason = "nobody asks for entries"))]
    pub(crate) fn entries(&self) -> MutexGuard<'_, FakeEntries> {
        self.entries.lock().unwrap()
    }

    fn answer(&self, asked: &Asked, state: &mut State) -> HttpResponse {
        match asked.key.split('/').next() {
            Some("2020-05-31") => self.cloudfront().answer(asked),
            Some("key-value-stores") => self.entries.lock().unwrap().answer(asked),
            _ => state.answer(asked),
        }
    }

    /// From here on requests meet the fate that `fates` tells, by `METHOD key`.
    pub(crate) fn fates(&self, fates: impl Fn(&str) -> Fate + Send + Sync + 'static) {
        *self.fates.lock().unwrap() = Box::new(fates);
    }

    /// From here on `watch` is called after each request that was done.
    pub(crate) fn watch(&self, watch: impl Fn(&str) + Send + Sync + 'static) {
        *self.watch.lock().unwrap() = Box::new(watch);
    }

    /// The requests until now, as `METHOD key`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    pub(crate) fn clear_log(&self) {
        self.state.lock().unwrap().log.clear();
    }

    pub(crate) fn object(&self, key: &str) -> Option<Object> {
        self.state.lock().unwrap().objects.get(key).cloned()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    /// From here on keys are listed backwards.
    pub(crate) fn disorder(&self) {
        self.state.lock().unwrap().disordered = true;
    }

    pub(crate) fn uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    /// Puts an object there as somebody else would.
    pub(crate) fn plant(&self, key: &str, content: &str) {
        self.state.lock().unwrap().keep(key, content.as_bytes().to_vec(), BTreeMap::new());
    }

    /// Begins an upload in parts that nobody will end.
    pub(crate) fn begin_upload(&self, key: &str) {
        let mut state = self.state.lock().unwrap();
        state.drawn += 1;
        let id = format!("upload-{}", state.drawn);
        state.uploads.insert(id, Upload { key: key.to_owned(), ..Upload::default() });
    }

    pub(crate) fn take(&self, key: &str) {
        self.state.lock().unwrap().objects.remove(key);
    }

    /// The moment at which objects are written from now on, in seconds since 1970.
    pub(crate) fn at(&self, now: i64) {
        self.state.lock().unwrap().now = now;
    }

    /// After `count` more requests the credentials with the key `id` have ended.
    pub(crate) fn expire(&self, id: &str, count: usize) {
        let mut state = self.state.lock().unwrap();
        let end = state.log.len() + count;
        state.expired = Some((id.to_owned(), end));
    }

    /// From here on the store knows no checksums, as some that speak S3 do not. Those of deletions are older.
    #[cfg(feature = "cloudfront")]
    pub(crate) fn refuse_checksums(&self) {
        self.state.lock().unwrap().hostile = true;
    }

    pub(crate) fn account(&self) -> Account {
        let credentials = Credentials::new("AKIAFAKE", "fake-secret-key", None, None, "fake");
        self.account_of(SharedCredentialsProvider::new(credentials), 1)
    }

    /// An account whose calls are made up to `attempts` times.
    pub(crate) fn account_of(&self, credentials: SharedCredentialsProvider, attempts: u32) -> Account {
        let fake = self.clone();
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-central-1"))
            .endpoint_url("http://s3.fake")
            .credentials_provider(credentials)
            // As for every store at an endpoint of its own.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_config(retries(attempts))
            .timeout_config(timeouts())
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(fake.clone())))
            .build();
        Account::new(config, "eu-central-1".to_owned(), true, attempts)
    }
}

impl HttpConnector for FakeS3 {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked = Asked::of(&request);
        let fate = (self.fates.lock().unwrap())(&asked.line);
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.log.push(asked.line.clone());
            match fate {
                _ if state.hostile && asked.has_checksum() => Some(refusal(501, "NotImplemented")),
                _ if state.has_expired(&asked) && asked.method == "HEAD" => Some(response(400, "")),
                _ if state.has_expired(&asked) => Some(refusal(400, "ExpiredToken")),
                Fate::Refused(status, code) => Some(refusal(status, code)),
                Fate::Silence => None,
                Fate::Broken => {
                    self.answer(&asked, &mut state);
                    Some(refusal(500, "InternalError"))
                }
                Fate::Answered | Fate::Lost | Fate::Late(_) => Some(self.answer(&asked, &mut state)),
            }
        };
        (self.watch.lock().unwrap())(&asked.line);
        HttpConnectorFuture::new(async move {
            tokio::task::yield_now().await;
            if let Fate::Late(seconds) = fate {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            match answer {
                None => std::future::pending().await,
                Some(_) if fate == Fate::Lost => Err(ConnectorError::io("the connection broke".into())),
                Some(answer) => Ok(answer),
            }
        })
    }
}

impl State {
    fn has_expired(&self, asked: &Asked) -> bool {
        let signed = asked.headers.get("authorization").map(String::as_str).unwrap_or_default();
        let by = |id: &str| signed.contains(&format!("Credential={id}/"));
        self.expired.as_ref().is_some_and(|(id, end)| self.log.len() > *end && by(id))
    }

    fn answer(&mut self, asked: &Asked) -> HttpResponse {
        if !asked.is_as_signed() {
            return refusal(400, "XAmzContentSHA256Mismatch");
        }
        if let Some(code) = asked.beyond_limits() {
            return refusal(400, code);
        }
        match asked.method.as_str() {
            "GET" if asked.has("list-type") => self.list(asked),
            "GET" if asked.has("uploads") => self.list_uploads(),
            "GET" | "HEAD" => self.get(asked),
            "PUT" if asked.has("partNumber") => self.part(asked),
            "PUT" if asked.headers.contains_key("x-amz-copy-source") => self.copy(asked),
            "PUT" => self.put(asked, asked.body.clone(), kept_headers(&asked.headers)),
            "POST" if asked.has("delete") => self.delete_many(&asked.body),
            "POST" if asked.has("uploads") => self.begin(asked),
            "POST" => self.complete(asked),
            "DELETE" if asked.has("uploadId") => match self.uploads.remove(&asked.query["uploadId"]) {
                Some(_) => response(204, ""),
                None => refusal(404, "NoSuchUpload"),
            },
            _ => refusal(501, "NotImplemented"),
        }
    }

    fn keep(&mut self, key: &str, content: Vec<u8>, headers: BTreeMap<String, String>) {
        self.objects.insert(key.to_owned(), Object { content, headers, modified: self.now });
    }

    fn put(&mut self, asked: &Asked, content: Vec<u8>, headers: BTreeMap<String, String>) -> HttpResponse {
        let there = self.objects.get(&asked.key).map(|object| tag(&object.content));
        match (asked.headers.get("if-match"), &there) {
            (Some(_), None) => return refusal(404, "NoSuchKey"),
            (Some(wanted), Some(there)) if wanted != there => return refusal(412, "PreconditionFailed"),
            (_, Some(_)) if asked.headers.contains_key("if-none-match") => return refusal(412, "PreconditionFailed"),
            _ => {}
        }
        let mut answer = response(200, "");
        answer.headers_mut().insert("etag", tag(&content));
        self.keep(&asked.key, content, headers);
        answer
    }

    fn get(&self, asked: &Asked) -> HttpResponse {
        let Some(object) = self.objects.get(&asked.key) else { return refusal(404, "NoSuchKey") };
        let body = if asked.method == "HEAD" { Vec::new() } else { object.content.clone() };
        let mut answer = Response::new(200.try_into().unwrap(), SdkBody::from(body));
        for (name, value) in &object.headers {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
        answer.headers_mut().insert("etag", tag(&object.content));
        answer.headers_mut().insert("content-length", object.content.len().to_string());
        answer
    }

    fn list(&self, asked: &Asked) -> HttpResponse {
        let (prefix, after) = (asked.query.get("prefix"), asked.query.get("continuation-token"));
        let after = after.or(asked.query.get("start-after"));
        let prefix = prefix.cloned().unwrap_or_default();
        let found = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
        let mut found: Vec<_> = found.collect();
        if self.disordered {
            found.reverse();
        }
        let passed = |key: &String, after: &String| if self.disordered { key < after } else { key > after };
        found.retain(|(key, _)| after.is_none_or(|after| passed(key, after)));
        found.truncate(1001);
        let mut text = "<ListBucketResult>".to_owned();
        for (key, object) in found.iter().take(1000) {
            let modified = aws_smithy_types::DateTime::from_secs(object.modified).fmt(Format::DateTime).unwrap();
            let (key, size) = (escaped(key), object.content.len());
            _ = write!(
                text,
                "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{modified}</LastModified></Contents>"
            );
        }
        if found.len() > 1000 {
            _ = write!(
                text,
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
                escaped(found[999].0)
            );
        }
        response(200, &(text + "</ListBucketResult>"))
    }

    fn list_uploads(&self) -> HttpResponse {
        let modified = aws_smithy_types::DateTime::from_secs(self.now).fmt(Format::DateTime).unwrap();
        let mut text = "<ListMultipartUploadsResult>".to_owned();
        for (id, upload) in &self.uploads {
            let key = escaped(&upload.key);
            _ = write!(
                text,
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{modified}</Initiated></Upload>"
            );
        }
        response(200, &(text + "</ListMultipartUploadsResult>"))
    }

    fn copy(&mut self, asked: &Asked) -> HttpResponse {
        let source = decoded(&asked.headers["x-amz-copy-source"]);
        let source = source.strip_prefix(BUCKET).unwrap_or(&source).trim_start_matches('/');
        let Some(object) = self.objects.get(source).cloned() else { return refusal(404, "NoSuchKey") };
        let headers = match asked.headers.get("x-amz-metadata-directive").map(String::as_str) {
            Some("REPLACE") => kept_headers(&asked.headers),
            _ => object.headers,
        };
        self.keep(&asked.key, object.content, headers);
        response(200, "<CopyObjectResult><ETag>x</ETag></CopyObjectResult>")
    }

    fn delete_many(&mut self, body: &[u8]) -> HttpResponse {
        let text = String::from_utf8_lossy(body);
        for key in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
            self.objects.remove(&unescaped(key));
        }
        response(200, "<DeleteResult></DeleteResult>")
    }

    fn begin(&mut self, asked: &Asked) -> HttpResponse {
        self.drawn += 1;
        let id = format!("upload-{}", self.drawn);
        let upload = Upload { key: asked.key.clone(), headers: kept_headers(&asked.headers), parts: BTreeMap::new() };
        self.uploads.insert(id.clone(), upload);
        response(
            200,
            &format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"),
        )
    }

    fn part(&mut self, asked: &Asked) -> HttpResponse {
        let number = asked.query["partNumber"].parse().unwrap();
        let Some(upload) = self.uploads.get_mut(&asked.query["uploadId"]) else { return refusal(404, "NoSuchUpload") };
        let mut answer = response(200, "");
        answer.headers_mut().insert("etag", tag(&asked.body));
        upload.parts.insert(number, asked.body.clone());
        answer
    }

    fn complete(&mut self, asked: &Asked) -> HttpResponse {
        let id = &asked.query["uploadId"];
        let Some(upload) = self.uploads.get(id) else { return refusal(404, "NoSuchUpload") };
        let (content, headers) = (upload.parts.values().flatten().copied().collect(), upload.headers.clone());
        let answer = self.put(asked, content, headers);
        if answer.status().as_u16() != 200 {
            return answer;
        }
        self.uploads.remove(id);
        response(200, "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
    }
}

fn kept_headers(headers: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    const KEPT: [&str; 6] =
        ["content-type", "cache-control", "content-encoding", "content-language", "content-disposition", "expires"];
    let kept = headers.iter().filter(|(name, _)| KEPT.contains(&name.as_str()) || name.starts_with("x-amz-meta-"));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(crate) fn tag(content: &[u8]) -> String {
    format!("\"{}\"", Digest::of(content).short())
}

pub(crate) fn response(status: u16, text: &str) -> HttpResponse {
    Response::new(status.try_into().unwrap(), SdkBody::from(text.as_bytes().to_vec()))
}

pub(crate) fn refusal(status: u16, code: &str) -> HttpResponse {
    response(status, &format!("<Error><Code>{code}</Code><Message>it is so</Message></Error>"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

fn decoded(text: &str) -> String {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).unwrap()
}
