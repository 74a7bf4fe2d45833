//! The Kubernetes backend beside kubectl and Helm: the same work on the same server, by turns.
//!
//! ```sh
//! .ci/with-servers --peers cargo bench -p ecolaura-deploy-benches --features k8s --bench peers
//! ```
//!
//! After `--`: names of cases (`apply`, `verdict`, `bad-image`, `memory`; all unless some are named), `--rounds N` (5),
//! `--objects N` (1000) and `--pods N` (5000). Without a node (`.ci/with-servers --no-node`) `apply` and `memory` run.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what was measured, or left out, is said")]

mod apply;
mod memory;
mod options;
mod rollout;
mod servers;

use std::process::ExitCode;

use ecolaura_deploy_benches::{
    programs::Peers,
    table::{self, Row},
};

use self::{options::Options, servers::Servers};

const CASES: [&str; 4] = ["apply", "verdict", "bad-image", "memory"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // This program again, so that its memory is that of waiting alone.
    if let [first, rest @ ..] = &arguments[..]
        && first == memory::WAITER
    {
        runtime.block_on(memory::wait(rest));
        return ExitCode::SUCCESS;
    }
    let found = Options::of(&arguments, &CASES).and_then(|options| Ok((options, Servers::find()?)));
    match found {
        Ok((options, servers)) => {
            let rows = runtime.block_on(measure(&options, &servers));
            table::print(&rows);
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options, servers: &Servers) -> Vec<Row> {
    let peers = Peers::find();
    println!("{peers}");
    println!("server: Kubernetes {}, {} processors", servers.version().await, processors());
    let mut rows = Vec::new();
    for case in CASES.into_iter().filter(|case| options.cases.iter().any(|wanted| wanted == case)) {
        println!("{case} …");
        match case {
            "apply" => rows.extend(apply::measure(options, servers, &peers).await),
            "memory" => rows.extend(memory::measure(options, servers, &peers).await),
            _ if !servers.have_node => println!("{case}: left out, no node: use .ci/with-servers without --no-node"),
            "verdict" => rows.extend(rollout::verdict(options, servers, &peers).await),
            _ => rows.extend(rollout::bad_image(options, servers, &peers).await),
        }
    }
    rows
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
