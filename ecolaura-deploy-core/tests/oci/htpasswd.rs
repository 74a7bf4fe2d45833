//! A real registry that wants to be logged in to.

use std::{
    fs,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Secret,
    backend::Registry as _,
    oci::{Credential, CredentialSource, DockerConfig, OciRegistry},
    testing::servers::named,
};
use hyper::Method;
use serde_json::json;

use super::{
    cx,
    images::image,
    login::helper,
    real::{namespace, open},
    relay::Relay,
    repository,
};

const USER: &str = "ecolaura";
const PASSWORD: &str = "a-password-for-tests";
/// Both, as a header and `config.json` have them.
const LOGIN: &str = "ZWNvbGF1cmE6YS1wYXNzd29yZC1mb3ItdGVzdHM=";

/// Pushes something that is not there yet, and looks whether it is there then.
async fn push(registry: &OciRegistry) -> Result<(), Error> {
    let dir = tempfile::tempdir().unwrap();
    let layer = [namespace().to_string().as_bytes(), &vec![7; 3 << 20]].concat();
    let pinned = registry.push(&cx(), &image(dir.path(), &layer), &repository()).await?;
    assert!(registry.contains(&cx(), &pinned).await.unwrap());
    Ok(())
}

fn at(address: &str) -> OciRegistry {
    open(address).namespace(namespace())
}

#[tokio::test]
async fn a_login_of_docker_opens_it() {
    let Some(address) = named("ECOLAURA_TEST_REGISTRY_LOGIN") else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    for key in [address.clone(), format!("http://{address}/v2/")] {
        fs::write(&config, json!({"auths": {key: {"auth": LOGIN}}}).to_string()).unwrap();
        push(&at(&address).credentials(DockerConfig::new(&config))).await.unwrap();
    }
}

#[tokio::test]
async fn a_credential_helper_opens_it() {
    let Some(address) = named("ECOLAURA_TEST_REGISTRY_LOGIN") else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    fs::write(&config, json!({"credHelpers": {&address: "test"}}).to_string()).unwrap();
    helper(dir.path(), &format!("echo '{}'", json!({"Username": USER, "Secret": PASSWORD})));
    let source = DockerConfig::new(&config).helper("test", dir.path().join("helper"));
    push(&at(&address).credentials(source)).await.unwrap();
}

#[tokio::test]
async fn nobody_and_a_wrong_password_are_refused_without_effect_and_untold() {
    let Some(address) = named("ECOLAURA_TEST_REGISTRY_LOGIN") else { return };
    let wrong = Credential::basic(USER, Secret::new("another-password".to_owned()));
    for credential in [Credential::Anonymous, wrong] {
        let error = push(&at(&address).credentials(credential)).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthenticated, Effect::None), "{error:?}");
        let advice = format!("check the credentials for `{address}`");
        assert!(error.advice_text().unwrap().starts_with(&advice), "{}", error.report());
        assert!(!error.report().contains("another-password"), "{}", error.report());
    }
}

/// Knows a password, and the one that came after it when it is asked again.
#[derive(Debug, Clone, Default)]
struct Changing(Arc<AtomicU32>);

#[async_trait::async_trait]
impl CredentialSource for Changing {
    async fn credential(&self, _cx: &Context, _host: &str) -> Result<Credential, Error> {
        let password = if self.0.fetch_add(1, Ordering::Relaxed) == 0 { "the-one-before" } else { PASSWORD };
        Ok(Credential::basic(USER, Secret::new(password.to_owned())))
    }
}

#[tokio::test]
async fn a_password_that_changes_in_the_middle_of_a_push_is_asked_for_again() {
    /// `ecolaura:the-one-before`.
    const FORMER: &str = "ZWNvbGF1cmE6dGhlLW9uZS1iZWZvcmU=";
    let Some(address) = named("ECOLAURA_TEST_REGISTRY_LOGIN") else { return };
    for (method, part) in [
        (Method::HEAD, "/blobs/"),
        (Method::POST, "/blobs/uploads/"),
        (Method::PATCH, "/blobs/uploads/"),
        (Method::PUT, "/blobs/uploads/"),
        (Method::PUT, "/manifests/"),
    ] {
        let relay = Relay::start(&address, (FORMER, LOGIN), (method.clone(), part)).await;
        let source = Changing::default();
        let registry = at(&relay.address.to_string()).credentials(source.clone());
        push(&registry.pieces(NonZeroU64::new(1 << 20).unwrap()))
            .await
            .unwrap_or_else(|error| panic!("{method} {part}: {error:?}"));
        assert_eq!(source.0.load(Ordering::Relaxed), 2, "{method} {part}");
        assert!(relay.refused() >= 2, "{method} {part}: before anything was known, and in the middle");
    }
}
