//! Pushing an image beside crane and skopeo: the same image to the same registry, by turns, each as a program of its own.
//!
//! ```sh
//! .ci/with-servers --no-node --peers cargo bench -p ecolaura-deploy-benches --features oci --bench registry
//! ```
//!
//! After `--`: `--rounds N` (5), `--layers N` (5), `--mib N` (40) of each layer.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what was measured, or left out, is said")]

mod image;
mod options;
#[path = "../peers/programs.rs"]
#[expect(dead_code, reason = "the bench `peers` uses the rest")]
mod programs;
#[path = "../peers/table.rs"]
#[expect(dead_code, reason = "the bench `peers` uses the rest")]
mod table;

use std::{path::PathBuf, process::ExitCode};

use ecolaura_deploy_core::{
    Context,
    backend::{Registry as _, TagChange},
    oci::OciRegistry,
    vocabulary::{BuiltImage, Platform},
};
use tokio::time::Instant;

use self::{
    options::Options,
    table::{Goal, OURS, Row, Unit},
};

/// The argument by which this program pushes, and does nothing else.
const PUSHER: &str = "push-image";
const FRESH: &str = "fresh";
const UNCHANGED: &str = "unchanged";
/// What was measured of each push, with its memory.
const MEMORY: [(&str, &str); 2] = [(FRESH, "memory, fresh"), (UNCHANGED, "memory, unchanged")];
const PEERS: [&str; 2] = ["crane", "skopeo"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let [first, layout, digest, registry, repository] = &arguments[..]
        && first == PUSHER
    {
        runtime.block_on(push(layout, digest, registry, repository));
        return ExitCode::SUCCESS;
    }
    let found = Options::of(&arguments).and_then(|options| Ok((options, registry()?)));
    match found {
        Ok((options, registry)) => {
            table::print(&runtime.block_on(measure(options, &registry)));
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn registry() -> Result<String, String> {
    let address = std::env::var("ECOLAURA_TEST_REGISTRY").ok().filter(|address| !address.is_empty());
    address.ok_or("no registry: ECOLAURA_TEST_REGISTRY is not set; run this by `.ci/with-servers --peers`".to_owned())
}

/// Pushes an image and tags it, as the peers do.
async fn push(layout: &str, digest: &str, registry: &str, repository: &str) {
    let registry = OciRegistry::new("registry".parse().unwrap(), registry).unwrap();
    let (cx, repository) = (Context::new("bench".parse().unwrap()), repository.parse().unwrap());
    let image = BuiltImage::new(layout, digest.parse().unwrap(), Platform::current(), 0);
    registry.push(&cx, &image, &repository).await.unwrap();
    let tag = TagChange::new(repository, "v1".parse().unwrap(), Some(image.digest));
    registry.set_tag(&cx, &tag).await.unwrap();
}

async fn measure(options: Options, registry: &str) -> Vec<Row> {
    let programs: Vec<(&str, PathBuf)> =
        PEERS.iter().filter_map(|name| Some((*name, programs::on_path(name)?))).collect();
    for missing in PEERS.iter().filter(|name| programs.iter().all(|(found, _)| found != *name)) {
        println!("peer missing: {missing}, its rows are left out; .ci/with-servers --peers has it");
    }
    let sides: Vec<&'static str> = std::iter::once(OURS).chain(programs.iter().map(|(name, _)| *name)).collect();
    let mut round = 0;
    let records = table::by_turns(options.rounds, &sides, async |side| {
        round += 1;
        let dir = tempfile::tempdir().unwrap();
        // Of its own: what is in the registry already, under any name, is not sent again by everybody.
        let digest = image::make(dir.path(), options);
        let repository = format!("bench-{}-{round}/image", std::process::id());
        let program = programs.iter().find(|(name, _)| *name == side).map(|(_, path)| path.clone());
        let mut values = Vec::new();
        for (what, memory) in MEMORY {
            let (layout, target) = (dir.path().to_str().unwrap(), format!("{registry}/{repository}:v1"));
            let running = match (side, &program) {
                ("crane", Some(program)) => {
                    let began = Instant::now();
                    (programs::start(program, ["push", "--insecure", layout, &target]), began)
                }
                ("skopeo", Some(program)) => {
                    let (from, to) = (format!("oci:{layout}"), format!("docker://{target}"));
                    let arguments = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &from, &to];
                    let began = Instant::now();
                    (programs::start(program, arguments), began)
                }
                _ => {
                    let own = std::env::current_exe().unwrap();
                    let began = Instant::now();
                    (programs::start(&own, [PUSHER, layout, &digest, registry, &repository]), began)
                }
            };
            let ended = running.0.end_with_memory().await.checked();
            values.extend([(what, (ended.at - running.1).as_secs_f64()), (memory, ended.peak)]);
        }
        values
    })
    .await;
    rows(&options, &records)
}

fn rows(options: &Options, records: &table::Records) -> Vec<Row> {
    let size = format!("{} × {} MiB", options.layers, options.mib);
    let mut rows = Vec::new();
    for (what, goal) in [(FRESH, 0.8), (UNCHANGED, 0.3)] {
        let title = |peer: &str| (format!("push of {size}, {what}"), Goal::Ratio(goal), peer.to_owned());
        for peer in PEERS {
            let (title, goal, peer) = title(peer);
            rows.push(records.row(title, Unit::Seconds, what, (&peer, what), goal));
        }
    }
    for (what, memory) in MEMORY {
        for peer in PEERS {
            let title = format!("peak memory, {what}");
            rows.push(records.row(title, Unit::MiB, memory, (peer, memory), Goal::AtMost(64.0)));
        }
    }
    rows
}
