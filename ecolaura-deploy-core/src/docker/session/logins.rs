//! Logins for the registries from which the engine pulls.
//!
//! BuildKit can also have tokens fetched here. It is told that there is no such call, and then fetches them by itself
//! with what it is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use hyper::body::Incoming;

use super::{
    super::messages::{LoginAnswer, LoginRequest},
    Offer,
    grpc::{self, Status},
};
use crate::{
    Context, Result,
    login::{self, Credential, CredentialSource},
};

/// Which registry is told what. What was given for one host goes to no other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logins {
    given: BTreeMap<String, Credential>,
    source: Option<Arc<dyn CredentialSource>>,
}

impl Logins {
    pub(crate) fn give(&mut self, host: &str, credential: Credential) {
        self.given.insert(login::kept_as(host).to_owned(), credential);
    }

    pub(crate) fn ask(&mut self, source: impl CredentialSource) {
        self.source = Some(Arc::new(source));
    }

    /// The hosts for which something was given.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.given.keys().map(String::as_str)
    }

    async fn of(&self, cx: &Context, host: &str) -> Result<Credential> {
        let host = login::kept_as(host);
        match (self.given.get(host), &self.source) {
            (Some(credential), _) => Ok(credential.clone()),
            (None, Some(source)) => source.credential(cx, host).await,
            (None, None) => Ok(Credential::Anonymous),
        }
    }
}

/// Answers with the login for a registry, which is empty where there is none.
pub(super) async fn login(offer: &Offer, body: Incoming) -> std::result::Result<LoginAnswer, Status> {
    let LoginRequest { host } = grpc::asked(body).await?;
    let asking = offer.logins.of(&offer.cx, &host);
    let credential = offer.cx.bounded(offer.operation, asking).await.flatten().map_err(|error| {
        let status = Status::failed(error.message());
        offer.fail(error);
        status
    })?;
    offer.told.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), credential.who());
    if let Some(secret) = credential.secret() {
        offer.cx.redactor().register(secret);
    }
    if matches!(credential, Credential::Bearer(_)) {
        offer.cx.warn(format!("the login for `{host}` is a token of the registry, which no engine can be told"));
    }
    Ok(as_told(&credential))
}

fn as_told(credential: &Credential) -> LoginAnswer {
    let (username, secret) = match credential {
        Credential::Basic { username, password } => (username.as_str(), password.expose().as_str()),
        Credential::Identity(token) => ("", token.expose().as_str()),
        Credential::Anonymous | Credential::Bearer(_) => ("", ""),
    };
    LoginAnswer { username: username.to_owned(), secret: secret.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Secret, login::DockerConfig};

    #[tokio::test]
    async fn a_login_goes_to_the_host_that_it_was_given_for_and_to_no_other() {
        let cx = Context::new("test".parse().unwrap());
        let mut logins = Logins::default();
        for host in ["ghcr.io", "docker.io"] {
            logins.give(host, Credential::basic(host, Secret::new("a-secret-for-tests".to_owned())));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        // `user:password-1`, for two of them.
        let auth = serde_json::json!({"auth": "dXNlcjpwYXNzd29yZC0x"});
        std::fs::write(&path, serde_json::json!({"auths": {"ghcr.io": auth, "quay.io": auth}}).to_string()).unwrap();
        let mut both = logins.clone();
        both.ask(DockerConfig::new(path));
        for (host, alone, with_source) in [
            ("ghcr.io", "`ghcr.io`", "`ghcr.io`"),
            ("registry-1.docker.io", "`docker.io`", "`docker.io`"),
            ("quay.io", "nobody (no credentials)", "`user`"),
            ("ghcr.io.evil.example", "nobody (no credentials)", "nobody (no credentials)"),
        ] {
            assert_eq!(logins.of(&cx, host).await.unwrap().who(), alone, "{host}");
            assert_eq!(both.of(&cx, host).await.unwrap().who(), with_source, "{host}");
        }
    }

    #[test]
    fn an_identity_token_is_told_as_a_secret_without_a_name() {
        let secret = || Secret::new("a-secret-for-tests".to_owned());
        for (credential, username, told) in [
            (Credential::basic("a", secret()), "a", "a-secret-for-tests"),
            (Credential::Identity(secret()), "", "a-secret-for-tests"),
            (Credential::Bearer(secret()), "", ""),
            (Credential::Anonymous, "", ""),
        ] {
            let answer = as_told(&credential);
            assert_eq!((answer.username.as_str(), answer.secret.as_str()), (username, told));
            assert!(!format!("{answer:?}").contains("a-secret-for-tests"));
        }
    }
}
