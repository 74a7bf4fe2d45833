//! The store of secrets, and what is put into it.

use std::sync::Arc;

use async_trait::async_trait;
use ecolaura_deploy_aws::{Account, SecretsManager};
use ecolaura_deploy_core::{
    Context, ErrorKind, Result, Secret,
    backend::SecretStore,
    pipeline::constant,
    run::RunResult,
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    testing::{conformance::small::secrets::suite, servers::unique},
};

use super::support::{account, cx, run};

fn store(account: &Account) -> SecretsManager {
    SecretsManager::new("aws".parse().unwrap(), account)
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[tokio::test]
async fn conforms_on_moto() {
    let Some(account) = account().await else { return };
    suite(async || {
        // Whatever an earlier case has put is the same.
        let store = store(&account);
        if store.resolve(&cx(), "database-password").await.is_err() {
            store.put(&cx(), "database-password", &secret("hunter2-hunter2")).await.unwrap();
        }
        Arc::new(store) as Arc<dyn SecretStore>
    })
    .await;
}

/// Puts secrets, each as often as it stands here.
#[derive(Debug)]
struct Putting {
    store: SecretsManager,
    values: Vec<(String, &'static str)>,
}

#[async_trait]
impl Step for Putting {
    type Input = ();
    type Output = ();
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "put secret"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Keyed
    }

    async fn plan(&self, _: &Context, _: Planned<()>) -> Result<StepPlan<()>> {
        Ok(StepPlan::changing(Vec::new()))
    }

    async fn apply(&self, cx: &Context, (): ()) -> Result<Applied<(), NoUndo>> {
        for (name, value) in &self.values {
            self.store.put(cx, name, &secret(value)).await?;
        }
        Ok(Applied::new(()))
    }
}

async fn put(account: &Account, values: Vec<(String, &'static str)>) -> RunResult {
    let step = Putting { store: store(account), values };
    run(|pipeline| drop(pipeline.add("put", step, constant(())))).await
}

async fn versions(account: &Account, name: &str) -> usize {
    let client = aws_sdk_secretsmanager::Client::new(account.sdk_config());
    let listed = client.list_secret_version_ids().secret_id(name).include_deprecated(true).send().await.unwrap();
    listed.versions().len()
}

#[tokio::test]
async fn a_step_that_puts_again_makes_no_second_version_and_another_run_does() {
    let Some(account) = account().await else { return };
    let name = unique("password");
    let twice = || vec![(name.clone(), "hunter2-hunter2"), (name.clone(), "hunter2-hunter2")];
    assert!(matches!(put(&account, twice()).await, RunResult::Succeeded));
    assert_eq!(versions(&account, &name).await, 1);
    assert!(matches!(put(&account, twice()).await, RunResult::Succeeded));
    assert_eq!(versions(&account, &name).await, 2);
}

#[tokio::test]
async fn another_value_of_the_same_step_is_refused_and_not_shown() {
    let Some(account) = account().await else { return };
    let name = unique("password");
    let result = put(&account, vec![(name.clone(), "hunter2-hunter2"), (name.clone(), "another-hunter2")]).await;
    let said = format!("{result:?}");
    assert!(said.contains("another value") && !said.contains("hunter2"), "{said}");
    let kept = store(&account);
    let reference = kept.resolve(&cx(), &name).await.unwrap();
    assert_eq!(kept.get(&cx(), &reference).await.unwrap().expose(), "hunter2-hunter2");
}

#[tokio::test]
async fn a_rotated_secret_is_refused_under_its_old_reference() {
    let Some(account) = account().await else { return };
    let name = unique("password");
    let old = store(&account).put(&cx(), &name, &secret("hunter2-hunter2")).await.unwrap();
    let new = store(&account).put(&cx(), &name, &secret("hunter3-hunter3")).await.unwrap();
    let error = store(&account).get(&cx(), &old).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.report().contains(&new.version), "{error:?}");
    assert_eq!(store(&account).allow_rotated().get(&cx(), &old).await.unwrap().expose(), "hunter2-hunter2");
    let previous = store(&account).stage("AWSPREVIOUS").resolve(&cx(), &name).await.unwrap();
    assert_eq!(previous.version, old.version);
}
