//! The same program with everything that does not run in an account of AWS, which moto plays.

use std::{collections::BTreeSet, path::Path};

use ecolaura_deploy_aws::access::Policy;
use serde_json::{Value, json};

use super::user::User;

/// From an empty account to the way back, with a release that misbehaves and one that is killed on the way.
#[test]
fn in_an_account_from_nothing_to_the_way_back() {
    let Some(user) = User::in_an_account("aws") else { return };
    let run = user.ship(&["--plan"]);
    run.ends_with(2);
    assert!(run.output.contains("--prepare"), "it says what makes the settings: {run}");
    own_settings(&user, "whole");
    let run = user.ship(&["--prepare"]);
    run.ends_with(0);
    assert_eq!(run.output.matches("distribution ").count(), 3, "{run}");
    let run = user.ship(&["--prepare"]);
    assert!(run.output.contains("everything was there"), "{run}");

    let calls = user.path("calls");
    std::fs::create_dir_all(user.path("")).unwrap();
    let ship = |arguments: &[&str]| user.ship(&[arguments, &["--yes", "--calls", &calls]].concat());
    let run = ship(&[]);
    run.ends_with(0);
    for environment in ["dev", "staging", "production"] {
        assert_eq!((user.version(environment).as_str(), run.failed_requests(environment)), ("1.0.0", 0), "{run}");
        assert!(user.site(environment).contains("/assets/"), "the bucket has the pages");
    }
    assert!(
        !user.exists("records") && !user.exists("dev/secrets") && !user.exists("dev/site"),
        "they are in the account"
    );
    let run = ship(&[]);
    run.ends_with(0);
    assert_eq!(run.output.matches("plan of ecolaura, nothing to do").count(), 3, "{run}");

    let second = user.second_release();
    second_page(&second);
    talkative_build(&second);
    let (of_dev, events) = (user.path("calls-of-dev"), user.path("events"));
    let alone = ["--yes", "--env", "dev", "--app", &second, "--calls", &of_dev, "--events", &events];
    let run = user.ship(&[&alone[..], &["--misbehave"]].concat());
    run.ends_with(1);
    assert_eq!((user.version("dev").as_str(), run.totals("dev").failed_stable), ("1.0.0", 0), "{run}");
    nobody_reads_the_key(&user, &run.output, &events);
    a_role_of_one_environment_is_enough_for_it(&user, &of_dev);
    let run = ship(&["--env", "dev", "--app", &second, "--crash-within", "dev/publish-site"]);
    assert_eq!(run.code, None, "aborted: {run}");
    ship(&["--app", &second]).ends_with(0);
    for environment in ["dev", "staging", "production"] {
        assert_eq!((user.version(environment).as_str(), user.schema(environment)), ("1.1.0", 4));
        assert!(user.site(environment).contains("Second"), "{}", user.site(environment));
    }
    let run = ship(&["--rollback"]);
    run.ends_with(0);
    for environment in ["production", "staging", "dev"] {
        assert_eq!((user.version(environment).as_str(), user.schema(environment)), ("1.0.0", 3), "{run}");
        assert!(!user.site(environment).contains("Second"), "{run}");
        assert_eq!(run.failed_requests(environment), 0, "{run}");
    }
    let doctor = user.ship(&["--doctor", "--calls", &calls]);
    doctor.ends_with(0);
    assert_eq!(doctor.output.matches("nothing is open, damaged or left over").count(), 3, "{doctor}");
    every_call_is_granted_and_hardly_a_grant_is_unused(&user, &calls);
    user.down();
}

/// Its build says the key that `ship` has from its environment.
fn talkative_build(app: &str) {
    let path = Path::new(app).join("web/build/src/main.rs");
    let text = std::fs::read_to_string(&path).unwrap();
    let says = "let key = std::env::var(\"AWS_SECRET_ACCESS_KEY\");\n            println!(\"the key is {key:?}\");";
    let changed = text.replacen("Ok(count) => {\n", &format!("Ok(count) => {{\n            {says}\n"), 1);
    assert_ne!(changed, text);
    std::fs::write(path, changed).unwrap();
}

fn nobody_reads_the_key(user: &User, output: &str, events: &str) {
    let (report, events) = (user.path("report.html"), std::fs::read_to_string(events).unwrap());
    assert!(events.contains("the key is Ok(\\\"[redacted]"), "the build has said it");
    for text in [output, &events, &std::fs::read_to_string(report).unwrap()] {
        assert!(!text.contains("a-key-for-tests"));
    }
}

fn a_role_of_one_environment_is_enough_for_it(user: &User, calls: &str) {
    let text = user.ship(&["--policy", "--env", "dev"]).output;
    assert!(text.contains("-dev") && !text.contains("-staging") && !text.contains("-production"), "{text}");
    let policy = granted(&serde_json::from_str(&text).unwrap());
    let calls = called(calls);
    let refused: Vec<_> = calls.iter().filter(|(action, resource)| !policy.allows(action, resource)).collect();
    assert!(!calls.is_empty() && refused.is_empty(), "called and not granted: {refused:?}");
}

/// What a visitor sees differs.
fn second_page(app: &str) {
    let page = Path::new(app).join("web/src/index.html");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("<h1>"));
    std::fs::write(page, text.replacen("<h1>", "<h1>Second ", 1)).unwrap();
}

/// Whether only what did not happen here needs a grant: no file was large, nothing was so old that it was pruned, nobody
/// changed a page meanwhile and no invalidation was waited for. Repositories and scans stay in an account, and played ones
/// keep no images: what ECR needs is tested in the crate.
fn is_for_others((action, resource): &(&str, &str)) -> bool {
    ["cloudfront:GetInvalidation", "s3:AbortMultipartUpload", "s3:DeleteObject"].contains(action)
        || action.starts_with("ecr:")
        || (*action == "s3:GetObject" && resource.ends_with("/site/*"))
}

fn every_call_is_granted_and_hardly_a_grant_is_unused(user: &User, calls: &str) {
    let document: Value = serde_json::from_str(&user.ship(&["--policy"]).output).unwrap();
    let (policy, calls) = (granted(&document), called(calls));
    assert!(calls.len() > 100, "{calls:?}");
    let refused: Vec<_> = calls.iter().filter(|(action, resource)| !policy.allows(action, resource)).collect();
    assert!(refused.is_empty(), "called and not granted: {refused:?}");
    let unused = policy.unused(&calls);
    let unused: Vec<_> = unused.iter().filter(|grant| !is_for_others(grant)).collect();
    assert!(unused.is_empty(), "granted and not called: {unused:?}");
}

/// What the file `calls` says was called, but for the one call that nobody has to be allowed.
fn called(calls: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(calls).unwrap();
    let lines = text.lines().map(|line| line.split_once(' ').unwrap());
    let lines = lines.filter(|(action, _)| *action != "sts:GetCallerIdentity");
    let calls: BTreeSet<_> = lines.map(|(action, resource)| (action.to_owned(), resource.to_owned())).collect();
    calls.into_iter().collect()
}

/// The grants of a document of IAM.
fn granted(document: &Value) -> Policy {
    let texts = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let statements = document["Statement"].as_array().unwrap();
    Policy::of(statements.iter().map(|statement| {
        ecolaura_deploy_aws::access::Grant::new(texts(&statement["Action"]), texts(&statement["Resource"]))
    }))
}

/// Names that no other run on the same servers has.
fn own_settings(user: &User, what: &str) -> Value {
    let name = format!("ecolaura-{what}-{}", std::process::id());
    let place = |environment: &str| {
        (
            environment.to_owned(),
            json!({"bucket": format!("{name}-{environment}"), "distribution": "", "secrets": format!("{name}/{environment}")}),
        )
    };
    let settings = json!({
        "account": "123456789012", "region": "eu-central-1", "records": format!("{name}-deploys"),
        "environments": serde_json::Map::from_iter(["dev", "staging", "production"].map(place)),
    });
    write(user, &settings);
    settings
}

fn write(user: &User, settings: &Value) {
    let file = user.settings();
    std::fs::create_dir_all(Path::new(&file).parent().unwrap()).unwrap();
    std::fs::write(file, settings.to_string()).unwrap();
}

#[test]
fn what_was_made_before_something_failed_is_found_the_next_time() {
    let Some(user) = User::in_an_account("aws-again") else { return };
    own_settings(&user, "again");
    user.ship(&["--prepare"]).ends_with(0);
    let made: Value = serde_json::from_str(&std::fs::read_to_string(user.settings()).unwrap()).unwrap();
    // It ended before the first distribution was noted and might read its bucket, and before a bucket was set up.
    let mut before = made.clone();
    before["environments"]["dev"]["distribution"] = "".into();
    write(&user, &before);
    let (site, records) = (made["environments"]["dev"]["bucket"].as_str().unwrap(), made["records"].as_str().unwrap());
    user.takes_from_the_account(&[&format!("/{site}?policy"), &format!("/{records}?lifecycle")]);

    let run = user.ship(&["--prepare"]);
    run.ends_with(0);
    let again: Value = serde_json::from_str(&std::fs::read_to_string(user.settings()).unwrap()).unwrap();
    assert_eq!(again, made, "{run}");
    for said in [format!("{site} is read by"), format!("{records} ends half uploads")] {
        assert!(run.output.contains(&said), "no `{said}`: {run}");
    }
    assert!(user.ship(&["--prepare"]).output.contains("everything was there"));
    user.has_started_nothing();
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_done() {
    let Some(user) = User::in_an_account("aws-refused") else { return };
    let unprepared = own_settings(&user, "refused");
    user.ship(&["--prepare"]).ends_with(0);
    let mut settings: Value = serde_json::from_str(&std::fs::read_to_string(user.settings()).unwrap()).unwrap();
    let refused = |settings: &Value, said: &[&str]| {
        write(&user, settings);
        let run = user.ship(&["--yes"]);
        run.ends_with(2);
        said.iter().for_each(|text| assert!(run.output.contains(text), "no `{text}`: {run}"));
        assert!(!user.exists("source") && !user.exists("registry"), "nothing was begun");
    };
    let mut other = settings.clone();
    other["account"] = "111122223333".into();
    refused(&other, &["111122223333", "123456789012"]);
    refused(&unprepared, &["`dev` has no distribution, `production` has no distribution"]);
    settings["environments"]["dev"]["distribution"] = "ENOSUCH".into();
    settings["environments"]["staging"]["bucket"] = "no-such-bucket-of-ecolaura".into();
    refused(&settings, &["distribution/ENOSUCH", "staging: ", "no-such-bucket-of-ecolaura"]);
    settings["records"] = "no-such-records-of-ecolaura".into();
    refused(&settings, &["no-such-records-of-ecolaura"]);
    let environments = settings["environments"].as_object_mut().unwrap();
    environments.retain(|name, _| name == "dev");
    refused(&settings, &["has no `staging`, `environments` has no `production`"]);
    user.has_started_nothing();
}
