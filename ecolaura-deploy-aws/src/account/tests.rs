//! Who we are, and for how long.

use std::time::SystemTime;

use aws_credential_types::{
    Credentials,
    credential_feature::AwsCredentialFeature,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use ecolaura_deploy_core::{Effect, Secret, clock::FixedClock};

use super::*;
use crate::{
    fake::{ACCOUNT, Answer, FakeAws, REGION, cx, unknown},
    granted,
};

#[tokio::test]
async fn who_we_are_is_asked_once_and_names_where_resources_are() {
    let fake = FakeAws::new(|_| unknown());
    let account = fake.account(3);
    let identity = account.identity(&cx()).await.unwrap();
    assert_eq!((identity.account.as_str(), identity.arn.ends_with("deployer/ci")), (ACCOUNT, true));
    let scope = account.scope(&cx()).await.unwrap();
    assert_eq!(scope.arn("ecr", "repository/shop"), format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/shop"));
    account.without_retries().identity(&cx()).await.unwrap();
    assert_eq!(fake.all_operations(), ["GetCallerIdentity"]);
}

#[test]
fn partitions_follow_from_regions() {
    for (region, arn) in [
        ("eu-central-1", "arn:aws:eks:eu-central-1:1:x"),
        ("cn-north-1", "arn:aws-cn:eks:cn-north-1:1:x"),
        ("us-gov-west-1", "arn:aws-us-gov:eks:us-gov-west-1:1:x"),
        ("us-isob-east-1", "arn:aws-iso-b:eks:us-isob-east-1:1:x"),
    ] {
        assert_eq!(Scope::new(region, "1").arn("eks", "x"), arn);
    }
}

#[tokio::test]
async fn the_wrong_account_and_region_are_both_named() {
    let account = FakeAws::new(|_| unknown()).account(3);
    account.expect(&cx(), ACCOUNT, REGION).await.unwrap();
    let error = account.expect(&cx(), "999988887777", "us-east-1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let facts: Vec<_> = error.context().collect();
    for fact in [
        ("account found", ACCOUNT),
        ("account expected", "999988887777"),
        ("region found", REGION),
        ("region expected", "us-east-1"),
    ] {
        assert!(facts.contains(&fact), "{error:?}");
    }
    let error = account.expect(&cx(), ACCOUNT, "us-east-1").await.unwrap_err();
    assert!(!error.report().contains("account expected"), "{error:?}");
}

fn ending(minutes: u64, from: Option<AwsCredentialFeature>) -> (Account, Context) {
    let now = 1_800_000_000;
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(now) + Duration::from_mins(minutes);
    let now = jiff::Timestamp::from_second(now.try_into().unwrap()).unwrap();
    let mut credentials =
        Credentials::new("ASIAFAKE", "secret-of-a-session", Some("token-of-a-session".to_owned()), Some(end), "fake");
    credentials.set_property(from.into_iter().collect::<Vec<_>>());
    let account = FakeAws::new(|_| unknown()).account_of(3, credentials);
    (account, cx().with_clock(Arc::new(FixedClock::new(now))))
}

#[tokio::test]
async fn credentials_that_end_before_the_plan_does_are_refused() {
    let (account, cx) = ending(30, None);
    let lifetime = account.covers(&cx, Duration::from_mins(30)).await.unwrap();
    assert_eq!(lifetime, Lifetime::Ends(Duration::from_mins(30)));
    let error = account.covers(&cx, Duration::from_mins(31)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains("end in 30 min, and 31 min are planned"), "{error:?}");
    assert!(!error.report().contains("of-a-session"), "{error:?}");
}

#[tokio::test]
async fn credentials_that_renew_themselves_or_never_end_cover_any_plan() {
    let day = Duration::from_hours(24);
    let (account, at) = ending(30, Some(AwsCredentialFeature::CredentialsImds));
    assert_eq!(account.covers(&at, day).await.unwrap(), Lifetime::Renewed);
    let account = FakeAws::new(|_| unknown()).account(3);
    assert_eq!(account.covers(&cx(), day).await.unwrap(), Lifetime::Endless);
    let session = Credentials::new("ASIAFAKE", "secret-of-a-session", Some("token".to_owned()), None, "fake");
    let account = FakeAws::new(|_| unknown()).account_of(3, session);
    assert_eq!(account.covers(&cx(), day).await.unwrap(), Lifetime::Untold);
}

#[tokio::test]
async fn every_secret_of_the_credentials_is_told_to_the_redactor() {
    let cx = cx();
    let connect = Connect::new().region(REGION).endpoint("http://127.0.0.1:9");
    let account = connect.keys("AKIAKEY", Secret::new("a-secret-nobody-sees".to_owned())).connect(&cx).await.unwrap();
    account.covers(&cx, Duration::ZERO).await.unwrap();
    assert_eq!(cx.redactor().redact("it is a-secret-nobody-sees"), "it is [redacted]");
    assert!(!format!("{account:?}").contains("nobody-sees"));
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves_is_unavailable_after_all_attempts() {
    let cx = cx();
    let connect = Connect::new().region(REGION).endpoint("http://127.0.0.1:9").attempts(std::num::NonZeroU32::MIN);
    let account = connect.keys("AKIAKEY", Secret::new("a-secret-nobody-sees".to_owned())).connect(&cx).await.unwrap();
    let error = account.identity(&cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("sts:GetCallerIdentity"), "{error:?}");
}

/// Has no credentials.
#[derive(Debug)]
struct Nobody;

impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("no provider has any")))
    }
}

#[tokio::test]
async fn credentials_that_are_not_there_say_how_to_get_some() {
    let account = FakeAws::new(|_| Answer::identity()).account_of(3, Nobody);
    let errors = [account.identity(&cx()).await.unwrap_err(), account.covers(&cx(), Duration::ZERO).await.unwrap_err()];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert!(error.advice_text().unwrap().contains("AWS_PROFILE"), "{error:?}");
    }
}

/// STS, which gives sessions of these many minutes, one after the other, and counts them.
fn sts(minutes: &'static [i64]) -> FakeAws {
    let given = std::sync::atomic::AtomicUsize::new(0);
    FakeAws::new(move |asked| match asked.operation.as_str() {
        "AssumeRole" => {
            let number = given.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let length = jiff::SignedDuration::from_mins(minutes[number.min(minutes.len() - 1)]);
            let end = ecolaura_deploy_core::clock::Clock::now(&ecolaura_deploy_core::clock::SystemClock) + length;
            let keys = format!(
                "<AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>hunter2-hunter{number}</SecretAccessKey>"
            );
            let keys = format!("{keys}<SessionToken>token-{number}</SessionToken><Expiration>{end:.0}</Expiration>");
            let user =
                format!("<Arn>arn:aws:sts::{ACCOUNT}:assumed-role/deployer/x</Arn><AssumedRoleId>A:x</AssumedRoleId>");
            let result = format!("<Credentials>{keys}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser>");
            Answer::Text(
                200,
                format!("<AssumeRoleResponse><AssumeRoleResult>{result}</AssumeRoleResult></AssumeRoleResponse>"),
            )
        }
        _ => unknown(),
    })
}

async fn deployer(fake: &FakeAws, cx: &Context) -> Account {
    fake.account(1).as_role(&Role::new("arn:aws:iam::111122223333:role/deployer"), cx.redactor()).await
}

fn times(fake: &FakeAws) -> usize {
    fake.operations().iter().filter(|operation| *operation == "AssumeRole").count()
}

#[tokio::test]
async fn a_role_is_taken_on_once_and_again_before_what_its_credentials_would_not_last_for() {
    let (fake, cx) = (sts(&[20, 60]), cx());
    let account = deployer(&fake, &cx).await;
    account.identity(&cx).await.unwrap();
    account.without_retries().scope(&cx).await.unwrap();
    account.lasting(&cx, Duration::from_mins(10)).await.unwrap();
    assert_eq!(times(&fake), 1);
    let Lifetime::Ends(left) = account.lasting(&cx, Duration::from_mins(30)).await.unwrap() else { panic!() };
    assert!(left > Duration::from_mins(55), "{left:?}");
    assert_eq!(times(&fake), 2);
    assert_eq!(cx.redactor().redact("hunter2-hunter1"), "[redacted]");

    let error = account.lasting(&cx, Duration::from_hours(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.report().contains("120 min are planned"), "{error:?}");
}

#[tokio::test]
async fn credentials_of_a_role_that_are_about_to_end_are_not_used() {
    let (fake, cx) = (sts(&[3, 60]), cx());
    let account = deployer(&fake, &cx).await;
    account.lasting(&cx, Duration::ZERO).await.unwrap();
    account.identity(&cx).await.unwrap();
    assert_eq!(times(&fake), 2);
}

#[tokio::test]
async fn a_step_begins_with_credentials_that_last_or_not_at_all() {
    use ecolaura_deploy_core::{
        pipeline::Pipeline,
        pipeline::constant,
        run::{RunResult, Runner},
        steps::Command,
        store::ObjectRunStore,
    };
    for (planned, expected) in [(30, 2), (90, 2)] {
        let (fake, cx) = (sts(&[20, 60]), cx());
        let account = deployer(&fake, &cx).await;
        account.identity(&cx).await.unwrap();
        let mut pipeline = Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap());
        let step = Lasting::new(&account, Command::new("true"), Duration::from_mins(planned));
        pipeline.add("migrate", step, constant(()));
        let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
        let plan = runner.plan(&cx, pipeline).await.unwrap();
        let result = runner.run(&cx, plan).await.unwrap().result;
        assert_eq!(matches!(result, RunResult::Succeeded), planned == 30, "{result:?}");
        assert_eq!(times(&fake), expected);
    }
}

#[tokio::test]
async fn a_role_that_may_not_be_taken_on_is_named_with_what_has_to_be_allowed() {
    let fake = FakeAws::new(|_| Answer::xml_refusal(403, "AccessDenied", "not authorized to perform: sts:AssumeRole"));
    let cx = cx();
    let account = deployer(&fake, &cx).await;
    let errors =
        [account.identity(&cx).await.unwrap_err(), account.lasting(&cx, Duration::from_mins(1)).await.unwrap_err()];
    for error in errors {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthenticated, Effect::None), "{error:?}");
        for said in ["sts:AssumeRole on arn:aws:iam::111122223333:role/deployer", "AccessDenied"] {
            assert!(error.message().contains(said), "{said}: {error:?}");
        }
        assert!(error.advice_text().unwrap().contains("its own trust"), "{error:?}");
    }
}

#[tokio::test]
async fn while_sts_is_gone_what_is_held_serves_to_its_end() {
    // The second time it does not answer.
    for (minutes, serves) in [(3, true), (0, false)] {
        let (given, asked) = (sts(if minutes == 3 { &[3] } else { &[0] }), std::sync::atomic::AtomicUsize::new(0));
        let given = given.handler();
        let fake = FakeAws::new(move |call: &crate::fake::Asked| match call.operation.as_str() {
            "AssumeRole" if asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 => Answer::Lost,
            _ => given(call),
        });
        let cx = cx();
        let account = deployer(&fake, &cx).await;
        account.lasting(&cx, Duration::ZERO).await.unwrap();
        assert_eq!(account.identity(&cx).await.is_ok(), serves, "{minutes}");
        // What has to last is not begun with less.
        let error = account.lasting(&cx, Duration::from_mins(30)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert!(times(&fake) > 1);
    }
}

#[tokio::test]
async fn taking_a_role_on_is_granted() {
    let calls = granted::record();
    let (fake, cx) = (sts(&[60]), cx());
    deployer(&fake, &cx).await.identity(&cx).await.unwrap();
    granted::exactly(&calls, [Role::new("arn:aws:iam::111122223333:role/deployer").taking_on()]);
}

#[tokio::test]
async fn a_role_is_taken_on_as_its_owner_wants_it() {
    let (fake, cx) = (sts(&[60]), cx());
    let role = Role::new("arn:aws:iam::111122223333:role/deployer").session("release-7").external_id("shop-1");
    let role = role.length(Duration::from_hours(2));
    fake.account(1).as_role(&role, cx.redactor()).await.identity(&cx).await.unwrap();
    let asked = fake.asked().remove(0).text();
    let fields = ["RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fdeployer", "RoleSessionName=release-7"];
    for field in fields.into_iter().chain(["ExternalId=shop-1", "DurationSeconds=7200"]) {
        assert!(asked.split('&').any(|known| known == field), "{field}: {asked}");
    }
}
