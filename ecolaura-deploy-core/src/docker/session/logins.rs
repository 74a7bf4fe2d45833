//! Logins for the registries from which the engine pulls.
//!
//! BuildKit can also have tokens fetched here. It is told that there is no such call, and then fetches them by itself
//! with what it is told.

use std::sync::PoisonError;

use hyper::body::Incoming;

use super::{
    super::messages::{LoginAnswer, LoginRequest},
    Offer,
    grpc::{self, Status},
};
use crate::login::{self, Credential};

/// Answers with the login for a registry, which is empty where there is none.
pub(super) async fn login(offer: &Offer, body: Incoming) -> Result<LoginAnswer, Status> {
    let LoginRequest { host } = grpc::asked(body).await?;
    let asking = offer.logins.credential(&offer.cx, login::kept_as(&host));
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
    use crate::Secret;

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
