//! `object_store`'s requests, over the account's way to AWS.

use std::{error::Error as StdError, fmt, time::Duration};

use async_trait::async_trait;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, SharedHttpConnector},
    orchestrator::HttpRequest as SdkRequest,
    result::ConnectorError,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService},
};

use crate::CALLS;

/// How long one attempt may take. Records are small, and a holder of the lock has several attempts in its term.
const PATIENCE: Duration = Duration::from_secs(8);

/// Sends requests, each within its time, and reads answers whole.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    connector: SharedHttpConnector,
    /// The ARN of the bucket.
    bucket: String,
    path_style: bool,
}

impl Wire {
    pub(super) fn new(connector: SharedHttpConnector, bucket: &str, path_style: bool) -> Self {
        Self { connector, bucket: bucket.to_owned(), path_style }
    }

    /// Says the call as a policy names it.
    fn say(&self, request: &HttpRequest) {
        let path = request.uri().path().trim_start_matches('/');
        let key = if self.path_style { path.split_once('/').map_or("", |(_, key)| key) } else { path };
        let action = match request.method().as_str() {
            "PUT" => "s3:PutObject",
            "DELETE" => "s3:DeleteObject",
            _ if key.is_empty() => "s3:ListBucket",
            _ => "s3:GetObject",
        };
        let slash = if key.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{key}", self.bucket);
        tracing::debug!(target: CALLS, action, resource, "call");
    }

    async fn exchange(&self, request: SdkRequest) -> Result<(http::response::Parts, Bytes), HttpError> {
        let response = self.connector.call(request).await.map_err(|error| broken(&error))?;
        let unreadable = |error| HttpError::new_boxed(HttpErrorKind::Request, error);
        let (parts, body) = response.try_into_http1x().map_err(|error| unreadable(error.into()))?.into_parts();
        let body = ByteStream::new(body).collect().await.map_err(|error| unreadable(error.into()))?;
        Ok((parts, body.into_bytes()))
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.say(&request);
        let (parts, body) = request.into_parts();
        let body = SdkBody::from(body.collect().await?.to_bytes());
        let request = SdkRequest::try_from(http::Request::from_parts(parts, body))
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let answered = tokio::time::timeout(PATIENCE, self.exchange(request)).await;
        let (parts, body) = answered.map_err(|late| HttpError::new(HttpErrorKind::Request, late))??;
        match Answer::of(parts.status, &body) {
            Some(answer) => Err(HttpError::new(HttpErrorKind::Unknown, answer)),
            None => Ok(HttpResponse::from_parts(parts, body.into())),
        }
    }
}

/// What the client must not take for something else: a bucket that is not there for an object that is not there, and a
/// bucket in another region for an answer without a reason.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: String,
}

impl Answer {
    fn of(status: StatusCode, body: &[u8]) -> Option<Self> {
        let body = String::from_utf8_lossy(body);
        let gone = status == StatusCode::NOT_FOUND && body.contains("<Code>NoSuchBucket</Code>");
        let elsewhere = status.is_redirection() && status != StatusCode::NOT_MODIFIED;
        (gone || elsewhere).then(|| Self { status, body: body.into_owned() })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status code: {}: {}", self.status, self.body)
    }
}

impl StdError for Answer {}

/// Whatever broke may be sent again: each request here is one whose repetition does no harm, or shows in what is read
/// back.
fn broken(error: &ConnectorError) -> HttpError {
    let kind = if error.is_user() { HttpErrorKind::Unknown } else { HttpErrorKind::Request };
    let text = ecolaura_deploy_core::causes(error);
    HttpError::new_boxed(kind, text.into())
}
