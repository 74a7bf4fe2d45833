//! AWS for tests, behind the SDK's own client: it answers what the test says, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::HttpRequest,
        result::ConnectorError,
    },
    http::Response,
};
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use ecolaura_deploy_core::Context;
use serde_json::{Value, json};

use crate::{Account, account::retries};

pub(crate) const ACCOUNT: &str = "111122223333";
pub(crate) const REGION: &str = "eu-central-1";

pub(crate) fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The operation: of the header `x-amz-target`, of the form's `Action`, or method and path.
    pub(crate) operation: String,
    /// The body where it is JSON.
    pub(crate) body: Value,
    /// The body.
    pub(crate) bytes: Vec<u8>,
    /// The headers.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Asked {
    /// The body as a text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn of(request: &HttpRequest) -> Self {
        let bytes = request.body().bytes().unwrap_or_default();
        let target = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
        let form = std::str::from_utf8(bytes).ok().and_then(|form| form.strip_prefix("Action="));
        let operation = match (target, form.and_then(|form| form.split('&').next())) {
            (Some(target), _) => target.to_owned(),
            (None, Some(action)) => action.to_owned(),
            (None, None) => {
                let path = request.uri().splitn(4, '/').nth(3).unwrap_or_default();
                format!("{} /{path}", request.method())
            }
        };
        let headers = request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { operation, body: serde_json::from_slice(bytes).unwrap_or_default(), bytes: bytes.to_vec(), headers }
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A document, and the status.
    Text(u16, String),
    /// Anything.
    Full { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Nothing: the connection breaks.
    Lost,
    /// Nothing, for ever.
    Silence,
}

impl Answer {
    pub(crate) fn json(body: &Value) -> Self {
        Self::Text(200, body.to_string())
    }

    /// A refusal as the services with JSON write it.
    pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Self {
        Self::Text(status, json!({"__type": code, "message": message}).to_string())
    }

    /// A refusal as the services with XML write it.
    pub(crate) fn xml_refusal(status: u16, code: &str, message: &str) -> Self {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
        Self::Text(status, format!("<ErrorResponse>{error}<RequestId>request-1</RequestId></ErrorResponse>"))
    }

    pub(crate) fn identity() -> Self {
        let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/deployer/ci");
        let result = format!("<Arn>{arn}</Arn><UserId>AROA:ci</UserId><Account>{ACCOUNT}</Account>");
        let result = format!("<GetCallerIdentityResult>{result}</GetCallerIdentityResult>");
        Self::Text(200, format!("<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"))
    }
}

pub(crate) type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

/// The fake. Who we are it knows by itself.
#[derive(Clone)]
pub(crate) struct FakeAws {
    handler: Arc<Handler>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAws")
    }
}

impl FakeAws {
    pub(crate) fn new(handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), asked: Arc::default() }
    }

    /// What it answers, for a fake that answers otherwise at times.
    pub(crate) fn handler(&self) -> Arc<Handler> {
        Arc::clone(&self.handler)
    }

    /// What was asked until now, but for who we are.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.operation != "GetCallerIdentity").cloned().collect()
    }

    pub(crate) fn all_operations(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.operation.clone()).collect()
    }

    pub(crate) fn operations(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.operation).collect()
    }

    /// An account whose calls come here, each made up to `attempts` times.
    pub(crate) fn account(&self, attempts: u32) -> Account {
        self.account_of(attempts, Credentials::new("AKIAFAKE", "fake-secret-key", None, None, "fake"))
    }

    pub(crate) fn account_of(&self, attempts: u32, credentials: impl ProvideCredentials + 'static) -> Account {
        let fake = self.clone();
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(retries(attempts))
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .time_source(aws_smithy_async::time::SystemTimeSource::new())
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(fake.clone())))
            .build();
        Account::new(config, REGION.to_owned(), false, attempts)
    }
}

impl HttpConnector for FakeAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked = Asked::of(&request);
        self.asked.lock().unwrap().push(asked.clone());
        let answer = match (self.handler)(&asked) {
            Answer::Text(404, text) if text.is_empty() && asked.operation == "GetCallerIdentity" => Answer::identity(),
            answer => answer,
        };
        HttpConnectorFuture::new(async move {
            match answer {
                Answer::Text(status, text) => {
                    Ok(Response::new(status.try_into().unwrap(), SdkBody::from(text.into_bytes())))
                }
                Answer::Full { status, headers, body } => {
                    let mut response = Response::new(status.try_into().unwrap(), SdkBody::from(body));
                    headers.into_iter().for_each(|(name, value)| drop(response.headers_mut().insert(name, value)));
                    Ok(response)
                }
                Answer::Lost => Err(ConnectorError::io("the connection broke".into())),
                Answer::Silence => std::future::pending().await,
            }
        })
    }
}

/// What a handler answers to what it does not know.
pub(crate) fn unknown() -> Answer {
    Answer::Text(404, String::new())
}
