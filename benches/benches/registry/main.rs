//! Pushing an image beside crane and skopeo: an image of its own each time, to the same registry, by turns, each as a
//! program of its own.
//!
//! ```sh
//! .ci/with-servers --no-node --peers cargo bench -p ecolaura-deploy-benches --features oci --bench registry
//! ```
//!
//! After `--`: `--rounds N` (5), `--layers N` (5), `--mib N` (40) of each layer.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what was measured, or left out, is said")]

mod image;

use std::{path::PathBuf, process::ExitCode};

use ecolaura_deploy_benches::{
    options, programs,
    table::{self, OURS, Row, Work, by_turns},
};
use ecolaura_deploy_core::{
    Context,
    backend::{Registry as _, TagChange},
    oci::OciRegistry,
    vocabulary::{BuiltImage, Platform},
};
use tokio::time::Instant;

/// The argument by which this program pushes, and does nothing else.
const PUSHER: &str = "push-image";
const PUSHES: [Work; 2] = [("fresh", "memory, fresh", 0.8), ("unchanged", "memory, unchanged", 0.3)];
/// In MiB.
const MOST: f64 = 64.0;
const PEERS: [&str; 2] = ["crane", "skopeo"];

/// The layers of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers {
    pub(crate) count: usize,
    /// Of each.
    pub(crate) mib: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // This program again, so that it begins like the others.
    if let [first, layout, digest, registry, repository] = &arguments[..]
        && first == PUSHER
    {
        runtime.block_on(push(layout, digest, registry, repository));
        return ExitCode::SUCCESS;
    }
    let usual = [("--rounds", 5), ("--layers", 5), ("--mib", 40)];
    let found = options(&arguments, &[], usual).and_then(|(_, options)| Ok((options, registry()?)));
    match found {
        Ok(([rounds, count, mib], registry)) => {
            table::print(&runtime.block_on(measure(rounds, Layers { count, mib }, &registry)));
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
    address.ok_or_else(|| {
        "no registry: ECOLAURA_TEST_REGISTRY is not set; run this by `.ci/with-servers --no-node --peers`".to_owned()
    })
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

async fn measure(rounds: usize, layers: Layers, registry: &str) -> Vec<Row> {
    let own = std::env::current_exe().unwrap();
    let mut sides: Vec<(&'static str, PathBuf)> = vec![(OURS, own)];
    for peer in PEERS {
        match programs::on_path(peer) {
            Some(program) => sides.push((peer, program)),
            None => println!("peer missing: {peer}, its rows are left out; .ci/with-servers --peers has it"),
        }
    }
    let names: Vec<&'static str> = sides.iter().map(|(name, _)| *name).collect();
    let mut turn = 0;
    let records = by_turns(rounds, &names, async |side| {
        turn += 1;
        let dir = tempfile::tempdir().unwrap();
        // What is in the registry already, under whatever name, is not stored again.
        let digest = image::make(dir.path(), layers);
        let repository = format!("bench-{}-{turn}/image", std::process::id());
        let arguments = arguments(side, (dir.path().to_str().unwrap(), &digest), (registry, &repository));
        let program = sides.iter().find(|(name, _)| *name == side).map(|(_, program)| program).unwrap();
        let mut values = Vec::new();
        for (what, memory, _) in PUSHES {
            let began = Instant::now();
            let ended =
                programs::start(program, arguments.iter().map(String::as_str)).end_with_memory().await.checked();
            values.extend([(what, (ended.at - began).as_secs_f64()), (memory, ended.peak)]);
        }
        values
    })
    .await;
    records.beside(&format!("{} layers of {} MiB", layers.count, layers.mib), &names, &PUSHES, MOST)
}

fn arguments(side: &str, (layout, digest): (&str, &str), (registry, repository): (&str, &str)) -> Vec<String> {
    let target = format!("{registry}/{repository}:v1");
    let arguments = match side {
        "crane" => vec!["push", "--insecure", layout, &target],
        "skopeo" => {
            let (from, to) = (format!("oci:{layout}"), format!("docker://{target}"));
            let how = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"];
            return how.map(str::to_owned).into_iter().chain([from, to]).collect();
        }
        _ => vec![PUSHER, layout, digest, registry, repository],
    };
    arguments.into_iter().map(str::to_owned).collect()
}
