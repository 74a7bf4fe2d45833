//! Bases in a registry that wants to be logged in to.

use std::fs;

use ecolaura_deploy_core::{
    Effect, ErrorKind, Secret,
    backend::Registry as _,
    docker::{Credential, CredentialSource, DockerBuilder, DockerConfig},
    oci::OciRegistry,
    run::RunResult,
    testing::servers::{named, unique},
};
use serde_json::json;

use super::bench::{Bench, cx, files};

const PASSWORD: &str = "a-password-for-tests";
/// `ecolaura:` and the password, as `config.json` has them.
const LOGIN: &str = "ZWNvbGF1cmE6YS1wYXNzd29yZC1mb3ItdGVzdHM=";

fn right() -> Credential {
    Credential::basic("ecolaura", Secret::new(PASSWORD.to_owned()))
}

/// A context whose build file `file` names a base of its own as `BASE`, which only those who log in can pull.
struct Private {
    bench: Bench,
    address: String,
}

impl Private {
    async fn new(file: &str) -> Option<Self> {
        let address = named("ECOLAURA_TEST_REGISTRY_LOGIN")?;
        let name = unique("base");
        let base = Bench::new("FROM scratch\nCOPY base /\n")?;
        base.put("base", &name);
        let image = base.build(&base.builder()).await.unwrap();
        let registry = OciRegistry::new("registry".parse().unwrap(), &address).unwrap().credentials(right());
        let repository = name.parse().unwrap();
        let pinned = registry.push(&cx(), &image, &repository).await.unwrap();
        let bench = Bench::new(&file.replace("BASE", &format!("{address}/{}@{}", pinned.repository, pinned.digest)))?;
        bench.put("own", "own");
        Some(Self { bench, address })
    }

    fn builder(&self, credential: Credential) -> DockerBuilder {
        self.bench.builder().credentials_for(&self.address, credential)
    }

    fn asking(&self, source: impl CredentialSource) -> DockerBuilder {
        self.bench.builder().credentials(source)
    }
}

#[tokio::test]
async fn a_base_and_copies_from_a_private_registry_are_pulled_with_a_login() {
    for file in ["FROM BASE\nCOPY own /\n", "FROM scratch\nCOPY --from=BASE /base /\nCOPY own /\n"] {
        let Some(private) = Private::new(file).await else { return };
        let image = private.bench.build(&private.builder(right())).await.unwrap();
        assert_eq!(files(&image).into_keys().collect::<Vec<_>>(), ["base", "own"]);
    }
}

#[tokio::test]
async fn the_login_of_docker_is_told_to_the_engine() {
    let Some(private) = Private::new("FROM BASE\nCOPY own /\n").await else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    fs::write(&config, json!({"auths": {&private.address: {"auth": LOGIN}}}).to_string()).unwrap();
    let builder = private.asking(DockerConfig::new(&config));
    let (finished, said) = private.bench.run(builder.clone()).await;
    assert_eq!(finished.result, RunResult::Succeeded, "{said}");
    for text in [said, format!("{builder:?}")] {
        assert!(!text.contains(PASSWORD) && !text.contains(LOGIN), "{text}");
    }
}

#[tokio::test]
async fn nobody_and_a_wrong_password_are_refused_by_the_name_of_the_registry() {
    let wrong = Credential::basic("ecolaura", Secret::new("another-password".to_owned()));
    for (credential, who) in [(Credential::Anonymous, "nobody"), (wrong, "`ecolaura`")] {
        let Some(private) = Private::new("FROM BASE\nCOPY own /\n").await else { return };
        let error = private.bench.build(&private.builder(credential)).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthenticated, Effect::None), "{error:?}");
        let expected = format!("`Dockerfile`: `{}` does not let {who}", private.address);
        assert!(error.message().starts_with(&expected), "{}", error.report());
        let advice = error.advice_text().unwrap();
        assert!(advice.contains(&format!("credentials for `{}`", private.address)), "{advice}");
        assert!(!format!("{error:?}").contains("another-password"), "{error:?}");
    }
}

#[tokio::test]
async fn a_login_that_cannot_be_had_ends_the_build_and_says_why() {
    let Some(private) = Private::new("FROM BASE\nCOPY own /\n").await else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    fs::write(&config, json!({"credHelpers": {&private.address: "of-nobody"}}).to_string()).unwrap();
    let error = private.bench.build(&private.asking(DockerConfig::new(&config))).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::None), "{error:?}");
    assert!(error.message().contains("`docker-credential-of-nobody` cannot be run"), "{error}");
}
