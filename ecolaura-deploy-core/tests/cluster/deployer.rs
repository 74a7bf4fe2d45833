//! A program that deploys and is then killed: this one, started with a wish in its environment.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use ecolaura_deploy_core::local::cluster::ProcessCluster;

use crate::bench::{Images, name, pids, roll, runtime};

const DIR: &str = "CLUSTER_TEST_DIR";
const MODE: &str = "CLUSTER_TEST_MODE";
const KIND: &str = "CLUSTER_TEST_KIND";

/// Rolls out, tells the address and the pods, and waits to be killed.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let dir = PathBuf::from(std::env::var_os(DIR)?);
    let mode = std::env::var(MODE).unwrap();
    let images = Images::new(&dir);
    let cluster = match std::env::var(KIND).unwrap().as_str() {
        "agent" => ProcessCluster::with_agent(dir.join("cluster"), images.registry.clone(), name("local")),
        _ => ProcessCluster::in_process(dir.join("cluster"), images.registry.clone(), name("local")),
    };
    let cluster = cluster.unwrap();
    runtime().block_on(async {
        let image = images.image(&mode).await.unwrap();
        let applied = roll(&cluster, &dir, "backend", &image).await.unwrap();
        let pids: Vec<String> = pids(&cluster).await.iter().map(u32::to_string).collect();
        let address = applied.addresses.into_values().next().unwrap();
        let mut output = std::io::stdout();
        writeln!(output, "deployed {address} {}", pids.join(",")).unwrap();
        output.flush().unwrap();
        std::future::pending::<()>().await;
    });
    None
}

/// A deployer that has rolled out and still runs.
pub(crate) struct Deployer {
    child: Child,
    pub(crate) address: String,
    pub(crate) pids: Vec<u32>,
}

impl Deployer {
    pub(crate) fn start(dir: &Path, kind: &str, mode: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(DIR, dir).env(MODE, mode).env(KIND, kind).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.first(), Some(&"deployed"), "the deployer failed");
        let pids = words[2].split(',').map(|pid| pid.parse().unwrap()).collect();
        Self { child, address: words[1].to_owned(), pids }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
