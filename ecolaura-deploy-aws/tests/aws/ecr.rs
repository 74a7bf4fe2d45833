//! Repositories as declared, logins, and scans.

use std::time::Duration;

use aws_sdk_ecr::{Client, types::Tag};
use ecolaura_deploy_aws::{
    Account,
    ecr::{EcrLogin, EcrRepository, EcrScanner, Mutability},
};
use ecolaura_deploy_core::{
    backend::{ImageScanner as _, ScanOutcome},
    oci::{Credential, CredentialSource as _},
    pipeline::constant,
    plan::Action,
    run::RunResult,
    step::{Need, Planned, Step as _},
    steps::Command,
    testing::servers::unique,
    vocabulary::{PinnedImage, Repository},
};
use serde_json::{Value, json};

use super::support::{ACCOUNT, REGION, account, cx, run};

pub(crate) fn lifecycle(days: u32) -> Value {
    json!({"rules": [{
        "rulePriority": 1, "description": "old ones", "action": {"type": "expire"},
        "selection": {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days},
    }]})
}

/// All that can be declared.
pub(crate) fn declared(account: &Account, name: &Repository) -> EcrRepository {
    EcrRepository::new(account, name.clone())
        .mutability(Mutability::Immutable)
        .scan_on_push(true)
        .lifecycle(lifecycle(14))
        .label("team", "shop")
}

pub(crate) fn repository() -> Repository {
    unique("shop/web").parse().unwrap()
}

async fn details(step: &EcrRepository) -> (Action, Vec<String>) {
    let plan = step.plan(&cx(), Planned::Known(())).await.unwrap();
    assert_eq!(plan.need == Need::Nothing, plan.changes[0].action == Action::NoOp);
    (plan.changes[0].action, plan.changes[0].details.clone())
}

#[tokio::test]
async fn a_declared_repository_is_made_once_and_what_differs_is_shown_and_mended() {
    let Some(account) = account().await else { return };
    let name = repository();
    let step = declared(&account, &name);
    let (action, lines) = details(&step).await;
    assert_eq!((action, lines.len()), (Action::Create, 4), "{lines:?}");
    assert!(matches!(
        run(|pipeline| drop(pipeline.add("ecr", step.clone(), constant(())))).await,
        RunResult::Succeeded
    ));
    assert_eq!(details(&step).await, (Action::NoOp, Vec::new()));

    let client = Client::new(account.sdk_config());
    let foreign = Tag::builder().key("owner").value("somebody").build().unwrap();
    let arn = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}");
    client.tag_resource().resource_arn(&arn).tags(foreign).send().await.unwrap();
    let other =
        declared(&account, &name).mutability(Mutability::Mutable).lifecycle(lifecycle(30)).label("team", "garden");
    let (action, lines) = details(&other).await;
    assert_eq!(action, Action::Update);
    assert_eq!((lines[0].as_str(), lines[2].as_str()), ("tags: immutable → mutable", "tag team: shop → garden"));
    assert!(lines[1].contains("\"countNumber\":14") && lines[1].contains("\"countNumber\":30"), "{lines:?}");
    other.apply(&cx(), ()).await.unwrap();
    assert_eq!(details(&other).await.0, Action::NoOp);
    let tags = client.list_tags_for_resource().resource_arn(&arn).send().await.unwrap();
    assert!(tags.tags().iter().any(|tag| tag.key() == "owner" && tag.value() == "somebody"), "{tags:?}");
}

#[tokio::test]
async fn what_a_failed_run_changed_in_a_repository_is_put_back() {
    let Some(account) = account().await else { return };
    let name = repository();
    let before = EcrRepository::new(&account, name.clone()).mutability(Mutability::Mutable).label("team", "garden");
    before.apply(&cx(), ()).await.unwrap();
    let result = run(|pipeline| {
        let made = pipeline.add("ecr", declared(&account, &name), constant(()));
        pipeline.step("fail", Command::new("false"), constant(())).after(&made).add();
    })
    .await;
    assert!(matches!(result, RunResult::RolledBack { .. }), "{result:?}");
    assert_eq!(details(&before).await.0, Action::NoOp);
    let (_, lines) = details(&EcrRepository::new(&account, name).lifecycle(lifecycle(14))).await;
    assert!(lines[0].starts_with("lifecycle policy: none"), "{lines:?}");
}

#[tokio::test]
async fn the_login_is_what_the_registry_takes() {
    let Some(account) = account().await else { return };
    let host = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com");
    let credential = EcrLogin::new(&account).credential(&cx(), &host).await.unwrap();
    let Credential::Basic { username, .. } = &credential else { panic!("{credential:?}") };
    assert_eq!(username, "AWS");
}

/// An image without layers, by digest.
pub(crate) async fn pushed(account: &Account, name: &Repository) -> PinnedImage {
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2,
                   "digest": format!("sha256:{}", "0".repeat(64))},
        "layers": [],
    });
    let request = Client::new(account.sdk_config()).put_image().repository_name(name.as_str());
    let answer = request.image_manifest(manifest.to_string()).image_tag("v1").send().await.unwrap();
    let id = answer.image().and_then(|image| image.image_id()).and_then(|id| id.image_digest()).unwrap();
    format!("{name}@{id}").parse().unwrap()
}

#[tokio::test]
async fn an_image_without_a_scan_is_not_scanned_and_one_that_is_scanned_tells_what_was_found() {
    let Some(account) = account().await else { return };
    let name = repository();
    EcrRepository::new(&account, name.clone()).apply(&cx(), ()).await.unwrap();
    let image = pushed(&account, &name).await;
    let scanner = || EcrScanner::new("ecr".parse().unwrap(), &account);
    let report = scanner().patience(Duration::from_secs(1)).scan(&cx(), &image).await.unwrap();
    assert!(matches!(report.outcome, ScanOutcome::NotScanned { .. }), "{report:?}");
    let report = scanner().starting().scan(&cx(), &image).await.unwrap();
    let ScanOutcome::Findings { findings } = &report.outcome else { panic!("{report:?}") };
    assert!(findings[0].id.starts_with("CVE-"), "{findings:?}");
}
