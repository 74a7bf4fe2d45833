//! What is asked of IAM, and what its answers amount to. moto does not simulate: a small IAM stands here in its place.

use std::sync::{Arc, Mutex};

use super::{Answer as Said, *};
use crate::{
    fake::{Answer, Asked, FakeAws, cx, unknown},
    form::Form,
    granted,
};

const ROLE: &str = "arn:aws:iam::111122223333:role/teams/deployer";

/// An IAM that denies what `decide` says: the decision and what else stands in the result.
fn iam(decide: impl Fn(&str, &str) -> &'static str + Send + Sync + 'static) -> (FakeAws, Arc<Mutex<Vec<Form>>>) {
    iam_of(ROLE, decide)
}

/// One in which we are `role`.
fn iam_of(
    role: &'static str,
    decide: impl Fn(&str, &str) -> &'static str + Send + Sync + 'static,
) -> (FakeAws, Arc<Mutex<Vec<Form>>>) {
    let forms = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&forms);
    let fake = FakeAws::new(move |asked: &Asked| match asked.operation.as_str() {
        "GetRole" => {
            let role = format!("<Path>/teams/</Path><RoleName>deployer</RoleName><RoleId>A</RoleId><Arn>{role}</Arn>");
            let role = format!("<Role>{role}<CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>");
            Answer::Text(200, format!("<GetRoleResponse><GetRoleResult>{role}</GetRoleResult></GetRoleResponse>"))
        }
        "SimulatePrincipalPolicy" => {
            let form = Form::parse(&asked.text());
            let (actions, resources) = (form.list("ActionNames.member"), form.list("ResourceArns.member"));
            let results: String = actions.iter().map(|action| result(action, &resources, &decide)).collect();
            seen.lock().unwrap().push(form);
            let inner = format!("<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>");
            let result = format!("<SimulatePrincipalPolicyResult>{inner}</SimulatePrincipalPolicyResult>");
            Answer::Text(200, format!("<SimulatePrincipalPolicyResponse>{result}</SimulatePrincipalPolicyResponse>"))
        }
        _ => unknown(),
    });
    (fake, forms)
}

/// As IAM answers: a result for each action, and in it one for each resource if there are several.
fn result(action: &str, resources: &[String], decide: &impl Fn(&str, &str) -> &'static str) -> String {
    let each = |name: &str, resource: &str| {
        let said = decide(action, resource);
        let (decision, more) = said.split_once(' ').unwrap_or((said, ""));
        format!(
            "<EvalResource{name}>{resource}</EvalResource{name}><{0}>{decision}</{0}>{more}",
            match name {
                "Name" if resources.len() > 1 => "EvalResourceDecision",
                _ => "EvalDecision",
            }
        )
    };
    let specific: Vec<_> =
        resources.iter().map(|resource| format!("<member>{}</member>", each("Name", resource))).collect();
    let inner = match resources {
        [resource] => each("Name", resource),
        _ => {
            let specific = format!("<ResourceSpecificResults>{}</ResourceSpecificResults>", specific.concat());
            format!("<EvalResourceName>*</EvalResourceName><EvalDecision>implicitDeny</EvalDecision>{specific}")
        }
    };
    format!("<member><EvalActionName>{action}</EvalActionName>{inner}</member>")
}

fn plan() -> Policy {
    Policy::of([
        Grant::new(["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"]),
        Grant::new(["ec2:CreateTags"], ["*"]).when("StringEquals", "ec2:CreateAction", "RunInstances"),
    ])
}

#[tokio::test]
async fn all_that_is_missing_is_said_at_once_and_why() {
    let (fake, _) = iam(|action, resource| match (action, resource) {
        ("s3:PutObject", "arn:aws:s3:::b/*") => {
            "explicitDeny <MatchedStatements><member><SourcePolicyId>freeze</SourcePolicyId></member></MatchedStatements>"
        }
        ("ec2:CreateTags", _) => {
            "implicitDeny <OrganizationsDecisionDetail><AllowedByOrganizations>false</AllowedByOrganizations></OrganizationsDecisionDetail>"
        }
        ("s3:GetObject", "arn:aws:s3:::a/*") => "implicitDeny",
        _ => "allowed",
    });
    let gate = AccessGate::<bool>::new(&fake.account(1), plan().grants().to_vec());
    let error = gate.apply(&cx(), true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    for said in [
        "role/teams/deployer lacks 3",
        "s3:PutObject on arn:aws:s3:::b/*: denied by freeze",
        "s3:GetObject on arn:aws:s3:::a/*: no policy allows it",
        "ec2:CreateTags on *: no policy of the organization allows it",
    ] {
        assert!(error.report().contains(said), "{said}: {error:?}");
    }
    assert_eq!(gate.plan(&cx(), Planned::Known(true)).await.unwrap().warnings.len(), 3);
}

#[tokio::test]
async fn the_role_behind_a_session_is_asked_about_with_its_path_and_the_conditions_of_the_plan() {
    let (fake, forms) = iam(|_, _| "allowed");
    let said = simulate(&fake.account(1), &cx(), &plan()).await.unwrap();
    assert_eq!(said, Said::Allowed { principal: ROLE.to_owned() });
    let forms = forms.lock().unwrap();
    assert!(forms.iter().all(|form| form.get("PolicySourceArn") == Some(ROLE)));
    let entries = |form: &Form| -> Vec<_> {
        let entry = |number: u32| {
            let part = |name: &str| form.get(&format!("ContextEntries.member.{number}.{name}")).map(str::to_owned);
            Some([part("ContextKeyName")?, part("ContextKeyType")?, part("ContextKeyValues.member.1")?].join(" "))
        };
        (1..).map_while(entry).collect()
    };
    let region = "aws:RequestedRegion string eu-central-1".to_owned();
    let expected = [vec!["ec2:CreateAction string RunInstances".to_owned(), region.clone()], vec![region]];
    let mut found: Vec<_> = forms.iter().map(entries).collect();
    found.sort_by_key(|entries| std::cmp::Reverse(entries.len()));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_depends_on_the_call_itself_is_said_and_stops_no_run() {
    let unsure = |decision: &str| {
        let keys = "<MissingContextValues><member>aws:SourceVpce</member></MissingContextValues>";
        &*format!("{decision} {keys}").leak()
    };
    for decision in ["implicitDeny", "explicitDeny"] {
        let said = unsure(decision);
        let (fake, _) = iam(move |action, resource| match (action, resource) {
            // Of several resources, and of one.
            ("s3:PutObject", "arn:aws:s3:::b/*") | ("ec2:CreateTags", _) => said,
            _ => "allowed",
        });
        let answer = simulate(&fake.account(1), &cx(), &plan()).await.unwrap();
        let Said::NotChecked { why } = &answer else { panic!("{answer:?}") };
        for call in ["s3:PutObject on arn:aws:s3:::b/*", "ec2:CreateTags on *"] {
            assert!(why.contains(&format!("{call} depends on `aws:SourceVpce`")), "{why}");
        }
        AccessGate::<bool>::new(&fake.account(1), plan().grants().to_vec()).apply(&cx(), true).await.unwrap();

        let (fake, _) = iam(move |action, _| if action == "s3:PutObject" { said } else { "implicitDeny" });
        let answer = simulate(&fake.account(1), &cx(), &plan()).await.unwrap();
        let Said::Missing { missing, .. } = &answer else { panic!("{answer:?}") };
        assert!(missing.iter().all(|missing| missing.action != "s3:PutObject"), "{missing:?}");
    }
}

#[tokio::test]
async fn what_is_missing_on_a_later_page_is_missing_too() {
    let fake = FakeAws::new(|asked| {
        let form = Form::parse(&asked.text());
        match asked.operation.as_str() {
            "SimulatePrincipalPolicy" => {}
            "GetRole" => return Answer::xml_refusal(403, "AccessDenied", "not authorized"),
            _ => return unknown(),
        }
        let result = |action: &str, decision: &str, rest: &str| {
            let result = format!("<EvalActionName>{action}</EvalActionName><EvalResourceName>*</EvalResourceName>");
            let result = format!("<member>{result}<EvalDecision>{decision}</EvalDecision></member>");
            let inner = format!("<EvaluationResults>{result}</EvaluationResults>{rest}");
            let result = format!("<SimulatePrincipalPolicyResult>{inner}</SimulatePrincipalPolicyResult>");
            Answer::Text(200, format!("<SimulatePrincipalPolicyResponse>{result}</SimulatePrincipalPolicyResponse>"))
        };
        match form.get("Marker") {
            None => result("a:First", "allowed", "<IsTruncated>true</IsTruncated><Marker>page 2</Marker>"),
            Some(_) => result("a:Second", "implicitDeny", "<IsTruncated>false</IsTruncated>"),
        }
    });
    let policy = Policy::of([Grant::new(["a:First", "a:Second"], ["*"])]);
    let answer = simulate(&fake.account(1), &cx(), &policy).await.unwrap();
    let Said::Missing { missing, .. } = &answer else { panic!("{answer:?}") };
    assert_eq!(missing.iter().map(|missing| missing.action.as_str()).collect::<Vec<_>>(), ["a:Second"]);
}

#[tokio::test]
async fn where_iam_may_not_be_asked_that_is_said_and_the_run_begins() {
    let fake = FakeAws::new(|asked| match asked.operation.as_str() {
        "SimulatePrincipalPolicy" | "GetRole" => Answer::xml_refusal(403, "AccessDenied", "not authorized"),
        _ => unknown(),
    });
    let said = simulate(&fake.account(1), &cx(), &plan()).await.unwrap();
    let Said::NotChecked { why } = &said else { panic!("{said:?}") };
    assert!(why.contains("iam:SimulatePrincipalPolicy on arn:aws:iam::111122223333:role/deployer"), "{why}");
    let gate = AccessGate::<bool>::new(&fake.account(1), plan().grants().to_vec());
    gate.apply(&cx(), true).await.unwrap();
    let warnings = gate.plan(&cx(), Planned::Known(true)).await.unwrap().warnings;
    assert!(warnings[0].starts_with("whether all is allowed could not be checked"), "{warnings:?}");
}

#[test]
fn who_can_be_asked_about_follows_from_the_identity() {
    let role = |arn| match principal(arn) {
        Principal::Role { arn, .. } | Principal::Named(arn) => arn,
        Principal::Nobody(why) => why.to_owned(),
    };
    assert_eq!(role("arn:aws-cn:sts::1:assumed-role/deployer/ci"), "arn:aws-cn:iam::1:role/deployer");
    assert_eq!(role("arn:aws:iam::1:user/teams/ann"), "arn:aws:iam::1:user/teams/ann");
    assert!(role("arn:aws:iam::1:root").contains("root user"));
    assert!(role("arn:aws:sts::1:federated-user/ann").contains("federated"));
}

#[tokio::test]
async fn every_call_is_granted_and_no_grant_is_unused() {
    let calls = granted::record();
    let (fake, _) = iam_of("arn:aws:iam::111122223333:role/deployer", |_, _| "allowed");
    let gate = AccessGate::<bool>::new(&fake.account(1), plan().grants().to_vec());
    gate.apply(&cx(), true).await.unwrap();
    let scope = fake.account(1).scope(&cx()).await.unwrap();
    granted::exactly(&calls, [gate.grant(&scope, "role/deployer")]);
    // A user has no path that has to be asked for.
    assert!(!gate.grant(&scope, "user/ann").actions().any(|action| action == "iam:GetRole"));
}

#[test]
fn iam_is_told_the_region_and_each_condition_by_its_kind() {
    let told = |grant: Grant| -> Vec<String> {
        let entries = context(&grant, "eu-central-1");
        let line = |entry: &ContextEntry| {
            let kind = entry.context_key_type().map_or("none", Kind::as_str);
            format!("{} {kind} {}", entry.context_key_name().unwrap(), entry.context_key_values().join(","))
        };
        entries.iter().map(line).collect()
    };
    let of = |action: &str| Grant::new([action], ["*"]);
    let region = "aws:RequestedRegion string eu-central-1";
    assert_eq!(told(of("s3:GetObject")), [region]);
    assert!(told(of("cloudfront:GetInvalidation")).is_empty(), "all its calls go to one region");
    let own = of("s3:GetObject").when("StringEquals", "aws:RequestedRegion", "us-east-1");
    assert_eq!(told(own), ["aws:RequestedRegion string us-east-1"]);
    for (operator, values, kind) in [
        ("NumericLessThan", &["1"][..], "numeric"),
        ("NumericLessThan", &["1", "2"], "numericList"),
        ("DateGreaterThan", &["2026-01-01"], "date"),
        ("Bool", &["true"], "boolean"),
        ("NotIpAddress", &["192.0.2.0/24"], "ip"),
        ("ForAnyValue:StringLike", &["a", "b"], "stringList"),
    ] {
        let grant = values.iter().fold(of("s3:GetObject"), |grant, value| grant.when(operator, "key", *value));
        assert_eq!(told(grant), [format!("key {kind} {}", values.join(",")).as_str(), region], "{operator}");
    }
}

#[tokio::test]
async fn a_boundary_that_does_not_allow_is_named() {
    let bounded = "implicitDeny <PermissionsBoundaryDecisionDetail><AllowedByPermissionsBoundary>false\
                   </AllowedByPermissionsBoundary></PermissionsBoundaryDecisionDetail>";
    let (fake, _) = iam(move |_, _| bounded);
    let answer = simulate(&fake.account(1), &cx(), &plan()).await.unwrap();
    let Said::Missing { missing, .. } = &answer else { panic!("{answer:?}") };
    // Of several resources, and of one.
    assert_eq!(missing.len(), 5, "{missing:?}");
    let all = missing.iter().all(|missing| missing.why == "the permissions boundary does not allow it");
    assert!(all, "{missing:?}");
}
