//! The process cluster from outside, with its agent: this program once more. So it needs a `main` of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod bench;
mod conformance;
mod deployer;
mod images;
mod leftovers;
mod surviving;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = ecolaura_deploy_core::local::cluster::run_agent_if_asked() {
        return code;
    }
    if let Some(code) = deployer::run_if_asked() {
        return code;
    }
    let tests = [
        ("conformance_in_process", conformance::in_process as fn()),
        ("conformance_with_agent", conformance::with_agent),
        ("a_program_runs_with_the_loader_and_the_libraries_of_its_image", images::own_loader),
        ("unpacked_images_survive_in_the_registry_only", images::gone_and_back),
        ("the_platform_outlives_a_killed_deployer", surviving::killed_deployer),
        ("an_unchanged_run_keeps_every_process", surviving::unchanged_run),
        ("a_killed_agent_takes_its_pods_with_it_and_comes_back", surviving::killed_agent),
        ("a_deployer_that_was_taken_over_is_refused_by_the_next_agent_too", surviving::taken_over),
        ("an_agent_that_is_not_used_ends", surviving::idle_agent),
        ("stopping_ends_everything_and_can_be_repeated", surviving::stopped),
        ("two_clients_at_once_share_one_agent", surviving::two_clients),
        ("an_agent_of_another_version_is_replaced", surviving::other_version),
        ("without_agent_pods_end_with_a_killed_program", surviving::killed_program),
        ("an_agent_serves_from_a_deep_folder", surviving::deep_folder),
        ("a_candidate_without_requests_is_left_over", leftovers::idle_candidate),
        ("a_candidate_of_a_killed_agent_is_left_over", leftovers::idle_candidate_of_a_killed_agent),
        ("processes_without_agent_and_guardian_are_left_over", leftovers::orphans),
        ("files_that_nobody_needs_are_left_over", leftovers::files),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}
