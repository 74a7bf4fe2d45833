//! Asking the services, as a user's browser would.

use std::time::Duration;

use ecolaura_deploy_core::{Error, ErrorKind, Result};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Method, Request, Response, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

/// The most that is read of an answer.
const LARGEST: usize = 4 * 1024 * 1024;

/// A client that keeps connections open. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client<HttpConnector, Empty<Bytes>>,
    patience: Duration,
}

impl Http {
    /// Gives each request this much time.
    pub fn new(patience: Duration) -> Self {
        Self::keeping(patience, usize::MAX)
    }

    /// The same with a connection of its own for each request: where connections are what is spread over the pods.
    pub fn connecting(patience: Duration) -> Self {
        Self::keeping(patience, 0)
    }

    fn keeping(patience: Duration, connections: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(connections)
            .pool_idle_timeout(Duration::from_secs(5))
            .build(connector);
        Self { client, patience }
    }

    /// `GET url`, whatever the status.
    pub async fn get(&self, url: &str) -> Result<Response<Bytes>> {
        self.request(Method::GET, url, None).await
    }

    /// `DELETE url`, whatever the status, with this `Authorization`.
    pub async fn delete(&self, url: &str, authorization: Option<&str>) -> Result<Response<Bytes>> {
        self.request(Method::DELETE, url, authorization).await
    }

    async fn request(&self, method: Method, url: &str, authorization: Option<&str>) -> Result<Response<Bytes>> {
        let failed = |why: String| Error::new(ErrorKind::Unavailable, "http.request", format!("`{url}`: {why}"));
        let mut request = Request::builder().method(method).uri(url);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let request =
            request.body(Empty::new()).map_err(|error| Error::invalid("http.request", format!("{error}: {url}")))?;
        let answer = async {
            let (head, body) = self.client.request(request).await.map_err(|error| failed(chain(&error)))?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(|error| failed(error.to_string()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let late = |_| failed(format!("no answer within {:?}", self.patience));
        tokio::time::timeout(self.patience, answer).await.map_err(late)?
    }

    /// The body of `GET url`, which must answer 200.
    pub async fn text(&self, url: &str) -> Result<String> {
        let answer = self.get(url).await?;
        if answer.status() != 200 {
            let message = format!("`{url}` answered {}, expected 200", answer.status());
            return Err(Error::new(ErrorKind::GateRefused, "http.request", message).advice("look at the service's log"));
        }
        Ok(String::from_utf8_lossy(answer.body()).into_owned())
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
