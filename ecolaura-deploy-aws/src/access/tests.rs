//! Policies allow what was asked for, and nothing beside it.

use super::*;
use crate::{
    Scope,
    access::trust::{Workflow, github, pod_identity, service_account},
};

#[test]
fn merging_never_allows_an_action_on_the_resource_of_another() {
    let policy = Policy::of([
        Grant::new(["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::site/*"]),
        Grant::new(["s3:GetObject"], ["arn:aws:s3:::logs/*"]),
    ]);
    assert!(
        policy.allows("s3:GetObject", "arn:aws:s3:::logs/x") && policy.allows("s3:PutObject", "arn:aws:s3:::site/x")
    );
    assert!(!policy.allows("s3:PutObject", "arn:aws:s3:::logs/x"));
}

#[test]
fn what_a_wider_grant_covers_is_left_out_unless_the_wider_one_has_conditions() {
    let tls = |grant: Grant| grant.when("Bool", "aws:SecureTransport", "true");
    let policy = Policy::of([
        tls(Grant::new(["s3:GetObject"], ["arn:aws:s3:::site/*"])),
        Grant::new(["s3:GetObject"], ["arn:aws:s3:::site/a"]),
        tls(Grant::new(["s3:GetObject"], ["arn:aws:s3:::site/a"])),
    ]);
    let resources: Vec<Vec<_>> = policy.grants().iter().map(|grant| grant.resources().collect()).collect();
    assert_eq!(resources, [["arn:aws:s3:::site/*"], ["arn:aws:s3:::site/a"]]);
    let free = Policy::of([
        Grant::new(["s3:GetObject"], ["arn:aws:s3:::site/*"]),
        tls(Grant::new(["s3:GetObject"], ["arn:aws:s3:::site/a"])),
    ]);
    assert_eq!(free.grants().len(), 1);
}

#[test]
fn the_document_is_the_same_whatever_the_order_was() {
    let a = Grant::new(["ecr:PutImage", "ecr:BatchGetImage"], ["arn:b", "arn:a"]);
    let b = Grant::new(["sts:TagSession"], ["*"]).when("StringEquals", "aws:a", "x").when("StringEquals", "aws:a", "y");
    let there = Policy::of([a.clone(), b.clone()]).document().unwrap();
    assert_eq!(there, Policy::of([b, a]).document().unwrap());
    let expected = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:PutImage"], "Resource": ["arn:a", "arn:b"]},
        {"Effect": "Allow", "Action": ["sts:TagSession"], "Resource": ["*"],
         "Condition": {"StringEquals": {"aws:a": ["x", "y"]}}},
    ]});
    assert_eq!(there, expected);
}

#[test]
fn a_policy_that_iam_would_refuse_says_so() {
    let many = (0..200).map(|number| Grant::new(["s3:GetObject"], [format!("arn:aws:s3:::a-bucket-{number:030}/*")]));
    assert_eq!(Policy::of(many).document().unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn a_policy_is_refused_from_the_first_character_on_that_is_too_many() {
    let of = |length: usize| Policy::of([Grant::new(["s3:GetObject"], ["x".repeat(length)])]);
    let around = of(1).document().unwrap().to_string().len() - 1;
    of(6144 - around).document().unwrap();
    of(6145 - around).document().unwrap_err();
}

#[test]
fn unused_pairs_are_named() {
    let policy = Policy::of([Grant::new(["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::site/*"])]);
    let calls = [("s3:GetObject".to_owned(), "arn:aws:s3:::site/index.html".to_owned())];
    assert_eq!(policy.unused(&calls), [("s3:PutObject", "arn:aws:s3:::site/*")]);
}

#[test]
fn trust_names_one_workflow_or_one_service_account() {
    let scope = Scope::new("eu-central-1", "111122223333");
    let trust = github(&scope, "ecolaura/shop", &Workflow::Branch("main".to_owned())).unwrap();
    let statement = &trust["Statement"][0];
    let provider = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com";
    assert_eq!(statement["Principal"]["Federated"], provider);
    let equals = &statement["Condition"]["StringEquals"];
    assert_eq!(equals["token.actions.githubusercontent.com:sub"], "repo:ecolaura/shop:ref:refs/heads/main");
    assert_eq!(equals["token.actions.githubusercontent.com:aud"], "sts.amazonaws.com");

    let trust = github(&scope, "ecolaura/shop", &Workflow::Tag("v1".to_owned())).unwrap();
    let equals = &trust["Statement"][0]["Condition"]["StringEquals"];
    assert_eq!(equals["token.actions.githubusercontent.com:sub"], "repo:ecolaura/shop:ref:refs/tags/v1");

    let issuer = "oidc.eks.eu-central-1.amazonaws.com/id/ABC";
    let trust = service_account(&scope, issuer, "shop", "deployer").unwrap();
    let equals = &trust["Statement"][0]["Condition"]["StringEquals"];
    assert_eq!(equals[format!("{issuer}:sub")], "system:serviceaccount:shop:deployer");

    let trust = pod_identity(&scope, "production", "shop", "deployer").unwrap();
    let equals = &trust["Statement"][0]["Condition"]["StringEquals"];
    assert_eq!(equals["aws:RequestTag/eks-cluster-arn"], "arn:aws:eks:eu-central-1:111122223333:cluster/production");
    assert_eq!(equals["aws:RequestTag/kubernetes-namespace"], "shop");
    assert_eq!(equals["aws:RequestTag/kubernetes-service-account"], "deployer");
}

#[test]
fn nobody_trusts_names_that_could_stand_for_others() {
    let scope = Scope::new("eu-central-1", "111122223333");
    let main = Workflow::Branch("main".to_owned());
    for repository in ["ecolaura/*", "ecolaura", "a/b/c", "a//b", "/b", "", "a/b c"] {
        github(&scope, repository, &main).unwrap_err();
    }
    for name in ["*", "v?", "${aws:username}", "a b"] {
        github(&scope, "ecolaura/shop", &Workflow::Branch(name.to_owned())).unwrap_err();
    }
    service_account(&scope, "https://oidc.example", "shop", "deployer").unwrap_err();
    pod_identity(&scope, "production", "shop", "*").unwrap_err();
}
