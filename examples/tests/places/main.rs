//! The small examples that roll out, run as a user runs them: without a cluster, and on a real one. There they mostly
//! wait, so more of them run at a time than there are processors.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(unreachable_pub, reason = "in a test, `pub` says what a module offers to the others")]

#[cfg(feature = "k8s")]
mod cluster;
mod example;

use std::process::ExitCode;

use example::Example;
use libtest_mimic::{Arguments, Trial};

const ALL: [&str; 7] =
    ["blue_green", "canary", "deploy_backend", "deploy_microservices", "fleet", "rollback", "troubleshoot"];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(ALL.len());
    let mut trials = vec![
        trial("the_help_says_what_it_does_and_what_it_can_be_told", the_help_says_what_it_does_and_what_it_can_be_told),
        trial("a_place_that_is_none_is_refused_by_name", a_place_that_is_none_is_refused_by_name),
        trial("on_this_machine_the_fleet_sums_up", on_this_machine_the_fleet_sums_up),
    ];
    #[cfg(feature = "k8s")]
    trials.extend(cluster::ALL.map(|(name, test)| trial(name, test)));
    trials.sort_by_key(|trial| trial.name().to_owned());
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

fn the_help_says_what_it_does_and_what_it_can_be_told() {
    for name in ALL {
        let run = Example::new(name).run(&["--help"]);
        run.ends_with(0);
        assert!(run.output.contains(&format!("Usage: {name}")), "{run}");
        for word in ["--kubeconfig <FILE>", "--registry <HOST:PORT>", "--down", "Exit codes"] {
            assert!(run.output.contains(word), "no {word}: {run}");
        }
    }
}

fn a_place_that_is_none_is_refused_by_name() {
    let example = Example::new("deploy_backend");
    let run = example.run(&["--registry", "127.0.0.1:1"]);
    run.ends_with(2);
    assert!(run.output.contains("--kubeconfig"), "{run}");
    let run = example.run(&["--kubeconfig", "/nowhere/kubeconfig", "--registry", "127.0.0.1:1"]);
    run.ends_with(2);
    #[cfg(feature = "k8s")]
    assert!(run.output.contains("/nowhere/kubeconfig"), "{run}");
    #[cfg(not(feature = "k8s"))]
    assert!(run.output.contains("type: cargo run --features k8s --example deploy_backend -- --kubeconfig"), "{run}");
}

fn on_this_machine_the_fleet_sums_up() {
    let run = Example::new("fleet").run(&[]);
    run.ends_with(0);
    let ends = ["dev         done", "staging     done", "production  done"].join("\n");
    assert!(run.output.contains(&ends), "{run}");
    assert_eq!(run.output.matches("answers `release 1`").count(), 3, "{run}");
}
