//! Differences, and what a lost or an overtaken call leads to.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ecolaura_deploy_core::ErrorKind;
use serde_json::json;

use super::*;
use crate::fake::{Answer, FakeAws, cx, unknown};

fn declared(account: &Account) -> EcrRepository {
    EcrRepository::new(account, "shop/web".parse().unwrap())
        .mutability(Mutability::Immutable)
        .scan_on_push(true)
        .label("team", "shop")
}

fn described(mode: &str, scan: bool) -> Answer {
    let repository = json!({
        "repositoryName": "shop/web", "imageTagMutability": mode,
        "imageScanningConfiguration": {"scanOnPush": scan},
    });
    Answer::json(&json!({"repositories": [repository]}))
}

fn missing() -> Answer {
    Answer::refusal(400, "RepositoryNotFoundException", "not there")
}

#[tokio::test]
async fn the_plan_shows_what_differs_and_nothing_of_what_is_not_declared() {
    let fake = FakeAws::new(|asked| match asked.operation.as_str() {
        "DescribeRepositories" => described("MUTABLE", true),
        "ListTagsForResource" => {
            Answer::json(&json!({"tags": [{"Key": "owner", "Value": "x"}, {"Key": "team", "Value": "y"}]}))
        }
        _ => unknown(),
    });
    let plan = declared(&fake.account(1)).plan(&cx(), Planned::Known(())).await.unwrap();
    assert_eq!(plan.changes[0].details, ["tags: mutable → immutable", "tag team: y → shop"]);
    assert_eq!((plan.changes[0].action, plan.changes[0].reason.as_str()), (Action::Update, "2 settings differ"));
    assert_eq!(fake.operations(), ["DescribeRepositories", "ListTagsForResource"]);
}

#[tokio::test]
async fn exceptions_from_immutability_are_compared_too() {
    let wished =
        Wished { mutability: Some(Mutability::ImmutableExcept(vec!["dev-*".to_owned()])), ..Wished::default() };
    let found = Found { mutability: Mutability::ImmutableExcept(vec!["*".to_owned()]), ..Found::default() };
    let moves = found.moves(&wished);
    assert_eq!(found.line(&moves[0]), "tags: immutable except * → immutable except dev-*");
    assert_eq!(found.inverse(&moves[0]), Move::Mutability(Mutability::ImmutableExcept(vec!["*".to_owned()])));
}

#[tokio::test]
async fn a_repository_that_somebody_else_makes_meanwhile_is_brought_to_what_is_declared() {
    let asked_before = Arc::new(AtomicUsize::new(0));
    let fake = FakeAws::new(move |asked| match asked.operation.as_str() {
        "DescribeRepositories" if asked_before.fetch_add(1, Ordering::SeqCst) == 0 => missing(),
        "DescribeRepositories" => described("MUTABLE", true),
        "CreateRepository" => Answer::refusal(400, "RepositoryAlreadyExistsException", "it is there"),
        "ListTagsForResource" => Answer::json(&json!({"tags": [{"Key": "team", "Value": "shop"}]})),
        "PutImageTagMutability" => Answer::json(&json!({})),
        _ => unknown(),
    });
    declared(&fake.account(1)).apply(&cx(), ()).await.unwrap();
    assert_eq!(fake.operations().last().unwrap(), "PutImageTagMutability");
    assert_eq!(fake.asked().last().unwrap().body["imageTagMutability"], "IMMUTABLE");
}

#[tokio::test]
async fn a_denied_change_names_what_to_allow() {
    let fake = FakeAws::new(|asked| match asked.operation.as_str() {
        "DescribeRepositories" => missing(),
        "CreateRepository" => Answer::refusal(400, "AccessDeniedException", "not authorized"),
        _ => unknown(),
    });
    let error = declared(&fake.account(1)).apply(&cx(), ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let advice = error.advice_text().unwrap();
    assert!(advice.contains("`ecr:CreateRepository`") && advice.contains(":repository/shop/web`"), "{advice}");
}
