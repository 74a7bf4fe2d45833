//! `ship`, driven as a user would: by its command line, its exit codes, its last lines, and what answers afterwards.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test")]
#![expect(unreachable_pub, reason = "in a test, `pub` says what a module offers to the others")]

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "k8s")]
mod cluster;
mod kill;
mod user;

use std::collections::BTreeSet;

use user::{Run, User};

const STEPS_OF_THEIR_OWN: [&str; 2] = ["roll-out-notifications", "check-notifications"];

/// One folder from the first release to the way back, because each part begins where the one before ended.
#[test]
fn from_the_first_release_to_the_way_back() {
    let user = User::new("whole");
    first_run(&user);
    unchanged_run(&user);
    let second = user.second_release();
    for environment in ["dev", "staging", "production"] {
        every_step_fails(&user, environment, &second);
        misbehaviour_is_caught(&user, environment, &second);
        let run = match environment {
            "production" => an_approval_is_waited_for(&user, &second),
            _ => user.ship(&["--yes", "--env", environment, "--app", &second]),
        };
        run.ends_with(0);
        assert_eq!(run.failed_requests(environment), 0, "{run}");
        assert_eq!(user.version(environment), "1.1.0");
    }
    a_crash_is_survived(&user);
    notifications_fail_alone(&user);
    the_way_back(&user, &second);
    user.down();
}

fn first_run(user: &User) {
    let run = user.ship(&["--plan"]);
    run.ends_with(0);
    assert!(run.output.contains("dev: plan of ecolaura") && run.output.contains("staging: planned once"), "{run}");
    assert!(!user.exists("dev") && !user.exists("registry"), "a plan touches nothing");

    let events = user.path("events.jsonl");
    let run = user.ship(&["--yes", "--events", &events]);
    run.ends_with(0);
    for environment in ["dev", "staging", "production"] {
        assert_eq!(run.failed_requests(environment), 0, "{run}");
        assert_eq!(user.version(environment), "1.0.0");
        assert!(user.site(environment).contains("/assets/"), "the pages stay up");
    }
    assert!(run.output.contains("ship -- --down --dir"), "it says what stops it: {run}");
    let report = std::fs::read_to_string(user.path("report.html")).unwrap();
    assert!(!report.contains("http-equiv=\"refresh\"") && !report.contains("src=\"http"), "one file");
    let lines = std::fs::read_to_string(&events).unwrap();
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    let digests: BTreeSet<String> = ["dev", "staging", "production"].map(|name| user.image(name)).into();
    assert_eq!(digests.len(), 1, "the same digests everywhere");
    assert!(!lines.contains(&user.token("dev")) && !report.contains(&user.token("production")), "no secret leaves");
}

fn unchanged_run(user: &User) {
    let before = user.processes();
    let run = user.ship(&["--yes"]);
    run.ends_with(0);
    assert_eq!(run.output.matches("plan of ecolaura, nothing to do").count(), 3, "{run}");
    assert_eq!(user.processes(), before, "nothing was restarted");
    assert_eq!(before.len(), 9, "two pods of the backend and one of notifications in each: {before:?}");
}

/// The release that was there answers all the time, and is what is there afterwards.
fn every_step_fails(user: &User, environment: &str, second: &str) {
    let steps = user.steps(environment);
    assert!(steps.len() > 15, "{steps:?}");
    for step in steps.iter().filter(|step| !STEPS_OF_THEIR_OWN.contains(&step.as_str())) {
        let whole = format!("{environment}/{step}");
        let run = user.ship(&["--yes", "--env", environment, "--app", second, "--fail", &whole]);
        run.ends_with(1);
        assert_eq!(run.failed_requests(environment), 0, "--fail {whole}: {run}");
        assert_eq!(user.version(environment), "1.0.0", "--fail {whole}: {run}");
        let end = run.last_lines(6);
        assert!(end.contains(&format!("`{step}` failed")), "what happened: {run}");
        assert!(end.contains("why ") && end.contains("as asked") && end.contains("do "), "why, and what to do: {run}");
    }
}

fn misbehaviour_is_caught(user: &User, environment: &str, second: &str) {
    let run = user.ship(&["--yes", "--misbehave", "--env", environment, "--app", second]);
    run.ends_with(1);
    let totals = run.totals(environment);
    assert_eq!((totals.failed_stable, totals.failed_after_abort), (0, 0), "{run}");
    assert!(totals.failed <= totals.candidate && totals.candidate * 100 <= totals.total * 50, "{run}");
    assert_eq!(user.version(environment), "1.0.0", "{run}");
    if environment == "production" {
        assert_eq!(user.version("staging"), "1.1.0", "a failure in production leaves staging as it is");
    }
}

/// Nobody is there to be asked: the run ends, says how to answer, and goes through once somebody did.
fn an_approval_is_waited_for(user: &User, second: &str) -> Run {
    let arguments = ["--env", "production", "--app", second];
    let run = user.ship(&arguments);
    run.ends_with(4);
    assert_eq!(user.version("production"), "1.0.0");
    let (answer, path) = run.how_to_answer();
    assert!(path.ends_with("approvals/production.json"), "{path}");
    std::fs::create_dir_all(user.path("approvals")).unwrap();
    std::fs::write(path, answer.replace("NAME", "ana")).unwrap();
    let run = user.ship(&arguments);
    assert!(run.output.contains("approved by ana"), "{run}");
    run
}

fn a_crash_is_survived(user: &User) {
    let third = user.later_release("third", "1.2.0");
    let run = user.ship(&["--yes", "--env", "dev", "--app", &third, "--crash-after", "dev/migrate"]);
    assert_eq!(run.code, None, "aborted: {run}");
    assert_eq!(user.version("dev"), "1.1.0", "what ran goes on");
    user.ship(&["--yes", "--env", "dev", "--app", &third]).ends_with(0);
    assert_eq!(user.version("dev"), "1.2.0");
    user.ship(&["--yes", "--env", "dev", "--rollback"]).ends_with(0);
    assert_eq!(user.version("dev"), "1.1.0");
}

fn notifications_fail_alone(user: &User) {
    let fourth = user.later_release("fourth", "1.3.0");
    for step in STEPS_OF_THEIR_OWN {
        let run = user.ship(&["--yes", "--env", "dev", "--app", &fourth, "--fail", step]);
        run.ends_with(1);
        assert_eq!(user.version("dev"), "1.3.0", "the backend is not undone: {run}");
        assert_eq!(user.version_of("dev", "notifications"), "1.1.0", "notifications are: {run}");
    }
    user.ship(&["--yes", "--env", "dev", "--rollback"]).ends_with(0);
    assert_eq!(user.version("dev"), "1.1.0");
}

fn the_way_back(user: &User, second: &str) {
    let plan = user.ship(&["--rollback", "--plan", "--env", "production"]);
    plan.ends_with(0);
    assert!(plan.output.contains("- database production-database migration 4"), "{plan}");
    assert_eq!(user.version("production"), "1.1.0");
    let run = user.ship(&["--rollback", "--yes"]);
    run.ends_with(0);
    for environment in ["production", "staging", "dev"] {
        assert_eq!(run.failed_requests(environment), 0, "{run}");
        assert_eq!(user.version(environment), "1.0.0");
        assert_eq!(user.schema(environment), 3, "the database went back too");
    }
    let none = user.ship(&["--rollback", "--yes"]);
    none.ends_with(2);
    assert!(none.output.contains("no release before"), "{none}");
    user.ship(&["--yes", "--env", "dev", "--app", second]).ends_with(0);
    assert_eq!((user.version("dev").as_str(), user.schema("dev")), ("1.1.0", 4), "and forward again");
}

#[test]
fn what_is_not_there_is_listed() {
    let user = User::new("lists");
    let run: Run = user.ship(&["--fail", "nope"]);
    run.ends_with(2);
    for line in ["dev/migrate", "production/approve", "migrate"] {
        assert!(run.output.lines().any(|found| found == line), "{line} in {run}");
    }
    let run = user.ship(&["--env", "moon"]);
    run.ends_with(2);
    assert!(run.output.lines().any(|line| line == "staging"), "{run}");
    user.ship(&["--no-such-flag"]).ends_with(2);
    user.ship(&["--rollback", "--down"]).ends_with(2);
    let run = user.ship(&["--env", "staging", "--yes"]);
    run.ends_with(2);
    assert!(run.output.contains("dev has none"), "{run}");
    let run = user.ship(&["--app", "/no/such/folder"]);
    run.ends_with(2);
    assert!(run.output.contains("/no/such/folder"), "{run}");
    let app = user.later_release("linked", "1.1.0");
    std::os::unix::fs::symlink("/etc/hostname", format!("{app}/web/src/host")).unwrap();
    let run = user.ship(&["--yes", "--env", "dev", "--app", &app]);
    run.ends_with(2);
    assert!(run.output.contains("linked/web/src/host` is a symbolic link"), "{run}");
    user.down();
}
