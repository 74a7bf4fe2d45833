//! The same program with its services on a real Kubernetes cluster.

use super::user::User;

/// From nothing to the way back, with a release that misbehaves and one that fails on the way.
#[test]
fn on_a_cluster_from_the_first_release_to_the_way_back() {
    let Some(user) = User::on_cluster("cluster") else { return };
    let run = user.ship(&["--yes"]);
    run.ends_with(0);
    for environment in ["dev", "staging", "production"] {
        assert_eq!(user.version(environment), "1.0.0", "{run}");
        assert!(user.site(environment).contains("/assets/"), "the pages stay up");
    }
    let run = user.ship(&["--yes"]);
    run.ends_with(0);
    assert_eq!(run.output.matches("plan of ecolaura, nothing to do").count(), 3, "{run}");

    let second = user.second_release();
    misbehaviour_is_caught(&user, &second);
    a_failure_is_taken_back(&user, &second);
    for environment in ["dev", "staging", "production"] {
        let run = user.ship(&["--yes", "--env", environment, "--app", &second]);
        run.ends_with(0);
        assert_eq!(run.failed_requests(environment), 0, "{run}");
        assert_eq!((user.version(environment).as_str(), user.schema(environment)), ("1.1.0", 4), "{run}");
    }
    a_crash_is_survived(&user);
    the_way_back(&user);
    user.down();
}

fn misbehaviour_is_caught(user: &User, second: &str) {
    let run = user.ship(&["--yes", "--misbehave", "--env", "dev", "--app", second]);
    run.ends_with(1);
    let totals = run.totals("dev");
    assert_eq!((totals.failed_stable, totals.failed_after_abort), (0, 0), "{run}");
    assert!(totals.failed > 0 && totals.failed <= totals.candidate, "only the candidate's share failed: {run}");
    assert_eq!(user.version("dev"), "1.0.0", "{run}");
}

/// After the promotion, so that pods, database and flag go back.
fn a_failure_is_taken_back(user: &User, second: &str) {
    let run = user.ship(&["--yes", "--env", "dev", "--app", second, "--fail", "dev/switch-flag"]);
    run.ends_with(1);
    assert_eq!(run.failed_requests("dev"), 0, "{run}");
    assert_eq!((user.version("dev").as_str(), user.schema("dev")), ("1.0.0", 3), "{run}");
}

fn a_crash_is_survived(user: &User) {
    let third = user.later_release("third", "1.2.0");
    let run = user.ship(&["--yes", "--env", "dev", "--app", &third, "--crash-within", "dev/roll-out-backend"]);
    assert_eq!(run.code, None, "aborted: {run}");
    user.ship(&["--yes", "--env", "dev", "--app", &third]).ends_with(0);
    assert_eq!(user.version("dev"), "1.2.0");
    user.ship(&["--yes", "--env", "dev", "--rollback"]).ends_with(0);
}

fn the_way_back(user: &User) {
    let run = user.ship(&["--yes", "--rollback"]);
    run.ends_with(0);
    for environment in ["production", "staging", "dev"] {
        assert_eq!(run.failed_requests(environment), 0, "{run}");
        assert_eq!((user.version(environment).as_str(), user.schema(environment)), ("1.0.0", 3), "{run}");
    }
}
