//! How the fake registry wants to be logged in to.

use std::{collections::BTreeSet, net::SocketAddr};

use bytes::Bytes;
use ecolaura_deploy_core::{Secret, oci::Credential};
use hyper::Uri;
use serde_json::json;

use super::server::{Answer, FakeRegistry, answer, named, with};

pub(crate) const PASSWORD: &str = "correct-horse-battery";
/// `deploy:` and the password, as a header has them.
pub(crate) const LOGIN: &str = "ZGVwbG95OmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==";

pub(crate) fn deploy() -> Credential {
    Credential::basic("deploy", Secret::new(PASSWORD.to_owned()))
}

pub(crate) async fn fake(logins: Logins) -> FakeRegistry {
    let server = FakeRegistry::start().await;
    server.state().logins = Some(logins);
    server
}

#[derive(Debug)]
pub(crate) enum Logins {
    /// `Authorization: Basic` with this.
    Basic(String),
    Bearer {
        given: u32,
        good: BTreeSet<String>,
        login: Option<String>,
        seen: Vec<String>,
        /// A repository for which nobody gets a token.
        closed: Option<String>,
    },
}

impl Logins {
    pub(crate) fn basic(login: &str) -> Self {
        Self::Basic(login.to_owned())
    }

    /// Tokens for those who log in with `login`, or for everybody.
    pub(crate) fn bearer(login: Option<&str>) -> Self {
        Self::Bearer {
            given: 0,
            good: BTreeSet::new(),
            login: login.map(str::to_owned),
            seen: Vec::new(),
            closed: None,
        }
    }

    /// Refuses tokens for `repository`, also where they are for others as well.
    pub(crate) fn close(&mut self, repository: &str) {
        if let Self::Bearer { closed, .. } = self {
            *closed = Some(repository.replace('/', "%2F"));
        }
    }

    pub(crate) fn forget(&mut self) {
        if let Self::Bearer { good, .. } = self {
            good.clear();
        }
    }

    /// The requests to the token server.
    pub(crate) fn asked(&self) -> &[String] {
        match self {
            Self::Bearer { seen, .. } => seen,
            Self::Basic(_) => &[],
        }
    }

    /// What to answer instead of doing what was asked for.
    pub(crate) fn check(&mut self, address: SocketAddr, uri: &Uri, sent: Option<&str>, body: &Bytes) -> Option<Answer> {
        match self {
            Self::Basic(login) => {
                let wanted = format!("Basic {login}");
                (sent != Some(&wanted))
                    .then(|| with(named(401, "UNAUTHORIZED", "log in"), "www-authenticate", "Basic realm=\"r\""))
            }
            Self::Bearer { given, good, login, seen, closed } if uri.path() == "/token" => {
                seen.push(format!("{} {}", uri.query().unwrap_or_default(), String::from_utf8_lossy(body)));
                let posted = login.as_ref().is_some_and(|login| String::from_utf8_lossy(body).contains(login.as_str()));
                let basic = login.as_ref().is_none_or(|login| sent == Some(&format!("Basic {login}")));
                if !posted && !basic {
                    return Some(named(401, "UNAUTHORIZED", "incorrect username or password"));
                }
                if closed.as_ref().is_some_and(|closed| uri.query().is_some_and(|query| query.contains(closed))) {
                    return Some(named(403, "DENIED", "requested access to the resource is denied"));
                }
                *given += 1;
                let token = format!("token-number-{given}");
                good.insert(format!("Bearer {token}"));
                Some(answer(200, json!({"token": token, "expires_in": 300}).to_string()))
            }
            Self::Bearer { good, .. } if sent.is_some_and(|sent| good.contains(sent)) => None,
            Self::Bearer { .. } => {
                // As some do that have both; the first alone opens nothing.
                let challenge = format!(
                    "Basic realm=\"r\", Bearer realm=\"http://{address}/token\",service=\"fake\",scope=\"repository:x:pull\""
                );
                Some(with(named(401, "UNAUTHORIZED", "authentication required"), "www-authenticate", &challenge))
            }
        }
    }
}
