//! What the backends say that they need is what they call: no less, and no more.

use ecolaura_deploy_aws::{
    Account, Scope, SecretsManager,
    access::{Grant, Policy},
    ecr::{EcrLogin, EcrRepository, EcrScanner, Mutability},
    eks::EksCluster,
};
use ecolaura_deploy_core::{
    Secret,
    backend::{ImageScanner as _, SecretStore as _},
    oci::CredentialSource as _,
    pipeline::constant,
    run::RunResult,
    step::Step as _,
    steps::Command,
    testing::servers::unique,
    vocabulary::Repository,
};

use super::{
    calls::Calls,
    ecr::{declared, pushed, repository},
    eks::made,
    support::{ACCOUNT, account, cx, run},
};

/// Everything that the backends can do.
async fn everything(account: &Account, name: &Repository, cluster: &str, secret: &str) {
    let store = SecretsManager::new("aws".parse().unwrap(), account);
    let reference = store.put(&cx(), secret, &Secret::new("hunter2-hunter2".to_owned())).await.unwrap();
    store.resolve(&cx(), secret).await.unwrap();
    store.get(&cx(), &reference).await.unwrap();

    EksCluster::find(account, &cx(), cluster).await.unwrap();

    let host = format!("{ACCOUNT}.dkr.ecr.{}.amazonaws.com", account.region());
    EcrLogin::new(account).credential(&cx(), &host).await.unwrap();
    EcrRepository::new(account, name.clone()).mutability(Mutability::Mutable).apply(&cx(), ()).await.unwrap();
    let result = run(|pipeline| {
        let made = pipeline.add("ecr", declared(account, name), constant(()));
        pipeline.step("fail", Command::new("false"), constant(())).after(&made).add();
    })
    .await;
    assert!(matches!(result, RunResult::RolledBack { .. }), "{result:?}");
    let image = pushed(account, name).await;
    EcrScanner::new("ecr".parse().unwrap(), account).starting().scan(&cx(), &image).await.unwrap();
}

fn grants(account: &Account, scope: &Scope, name: &Repository, cluster: &str, secret: &str) -> Vec<Grant> {
    vec![
        SecretsManager::putting(scope, secret),
        SecretsManager::reading(scope, secret),
        EksCluster::finding(scope, cluster),
        EcrLogin::logging_in(),
        declared(account, name).grant(scope),
        EcrScanner::new("ecr".parse().unwrap(), account).starting().grant(scope, name.as_str()),
    ]
}

#[tokio::test]
async fn every_call_is_granted_and_no_grant_is_unused() {
    let Some(account) = account().await else { return };
    let (name, cluster, secret) = (repository(), made(&account).await, unique("password"));
    let scope = account.scope(&cx()).await.unwrap();
    let calls = Calls::record();
    everything(&account, &name, &cluster, &secret).await;

    let policy = Policy::of(grants(&account, &scope, &name, &cluster, &secret));
    let calls = calls.all();
    let refused: Vec<_> = calls.iter().filter(|(action, resource)| !policy.allows(action, resource)).collect();
    assert!(refused.is_empty(), "called and not granted: {refused:?}");
    assert!(policy.unused(&calls).is_empty(), "granted and not called: {:?}", policy.unused(&calls));
    assert!(!policy.allows("ecr:PutImage", &scope.arn("ecr", format_args!("repository/{name}"))));
    policy.document().unwrap();
}

#[tokio::test]
async fn a_second_look_at_what_is_in_place_only_reads() {
    let Some(account) = account().await else { return };
    let name = repository();
    declared(&account, &name).apply(&cx(), ()).await.unwrap();
    let calls = Calls::record();
    declared(&account, &name).apply(&cx(), ()).await.unwrap();
    let reads = ["DescribeRepositories", "GetLifecyclePolicy", "ListTagsForResource"];
    let reads = reads.iter().map(|read| calls.count(&format!("ecr:{read}"))).sum::<usize>();
    assert_eq!((calls.all().len(), reads), (3, 3), "{:?}", calls.all());
}
