//! Where an example runs: on processes of this machine, or on a Kubernetes cluster, as its command line says.

#[cfg(feature = "k8s")]
mod kubernetes;

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args as _, Command, FromArgMatches as _};
use ecolaura_deploy_core::{Context, Error, ErrorKind, Result};
use tokio::time::Instant;

#[cfg(feature = "k8s")]
pub use self::kubernetes::{There, connect, within};
use crate::{Http, tiny, tiny::Sandbox};

/// How long nodes may take to hear of what a cluster decided.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every example can be told.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Run on this Kubernetes cluster instead of on processes of this machine (needs the feature `k8s`)
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// With --kubeconfig: push images to this registry, which the cluster pulls from
    #[arg(long, value_name = "HOST:PORT", requires = "kubeconfig")]
    pub registry: Option<String>,

    /// With --kubeconfig: only take away what the example left on the cluster
    #[arg(long, requires = "kubeconfig")]
    pub down: bool,
}

/// All of an example's `main`: serves if this process was started as one of its services, and else reads the command
/// line and does `work` where that says.
pub fn main(
    name: &'static str,
    about: &'static str,
    work: impl AsyncFnOnce(&Context, &Sandbox) -> Result<ExitCode>,
) -> ExitCode {
    tiny::serve_if_asked().unwrap_or_else(|| {
        let command = Options::augment_args(Command::new(name)).about(about).after_help(HELP);
        let options = Options::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
        run(name, &options, work)
    })
}

/// What every `--help` ends with.
pub const HELP: &str = "\
Without options it runs on processes of this machine, which end with it. On a cluster it has a namespace of its own, made
where it is missing; what runs there stays until --down.

Exit codes: 0 done, 1 not as it should be, 2 bad input.";

/// Does `work` where `options` say, and tells what went wrong.
pub fn run(
    name: &'static str,
    options: &Options,
    work: impl AsyncFnOnce(&Context, &Sandbox) -> Result<ExitCode>,
) -> ExitCode {
    let work = async {
        let cx = Context::new("dev".parse()?);
        match &options.kubeconfig {
            None => work(&cx, &Sandbox::new(name)?).await,
            Some(kubeconfig) => on_cluster(&cx, (name, kubeconfig, options), work).await,
        }
    };
    block_on(name, work)
}

/// Waits for `work` of the example `name`, and tells what went wrong.
pub fn block_on(name: &str, work: impl Future<Output = Result<ExitCode>>) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new();
    let runtime = runtime.map_err(|error| Error::internal("example.start", "no runtime").with_source(error));
    runtime.and_then(|runtime| runtime.block_on(work)).unwrap_or_else(|error| {
        #[expect(clippy::print_stderr, reason = "a program tells its user")]
        {
            eprintln!("{name}: {}", error.report());
        }
        let bad_input = matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound);
        ExitCode::from(if bad_input { 2 } else { 1 })
    })
}

#[cfg(feature = "k8s")]
use self::kubernetes::on_cluster;

/// There is none in this program.
#[cfg(not(feature = "k8s"))]
#[expect(clippy::unused_async, reason = "it is in the other")]
async fn on_cluster(
    _: &Context,
    (name, ..): (&str, &std::path::Path, &Options),
    _: impl AsyncFnOnce(&Context, &Sandbox) -> Result<ExitCode>,
) -> Result<ExitCode> {
    Err(without_kubernetes(name))
}

/// What to type for a program that knows Kubernetes.
#[cfg(not(feature = "k8s"))]
pub fn without_kubernetes(name: &str) -> Error {
    without("k8s", "--kubeconfig", name)
}

/// What to type for an example `name` whose `option` needs `feature`.
pub fn without(feature: &str, option: &str, name: &str) -> Error {
    Error::invalid("example.options", format!("{option} needs a `{name}` with the feature `{feature}`"))
        .advice(format!("type: cargo run --features {feature} --example {name} -- {option} …"))
}

impl Sandbox {
    /// Sees that `address` answers `answer`. On a cluster it may be out of reach for this machine: then that is said, and
    /// the answer is no.
    pub async fn sees(&self, address: &str, answer: &str) -> Result<bool> {
        let http = Http::new(Duration::from_secs(5));
        let patience = if self.contained { PATIENCE } else { Duration::ZERO };
        let began = Instant::now();
        loop {
            let found = http.text(address).await;
            match found {
                Ok(found) if found.trim() == answer => {
                    say(&format!("{address} answers `{answer}`"));
                    return Ok(true);
                }
                // Nodes hear a moment later where requests go.
                _ if began.elapsed() < patience => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(found) => {
                    let message = format!("{address} answers `{}`, expected `{answer}`", found.trim());
                    return Err(Error::new(ErrorKind::GateRefused, "example.check", message));
                }
                Err(error) if self.contained && error.kind() == ErrorKind::Unavailable => {
                    say(&format!("{address} cannot be reached from this machine: what it answers was not looked at"));
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Says something to the user, who may have stopped listening, as `head` does.
pub fn say(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_out_of_reach_is_said_on_a_cluster_and_fails_on_this_machine() {
        let mut sandbox = Sandbox::new("test-of-reach").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert_eq!(sandbox.sees(&nobody, "release 1").await.unwrap_err().kind(), ErrorKind::Unavailable);
        sandbox.contained = true;
        assert!(!sandbox.sees(&nobody, "release 1").await.unwrap());
    }

    #[tokio::test]
    async fn another_answer_is_no_answer() {
        let sandbox = Sandbox::new("test-of-answers").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                _ = stream.read(&mut [0; 1024]);
                _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nrelease 1");
            }
        });
        assert!(sandbox.sees(&address, "release 1").await.unwrap());
        let error = sandbox.sees(&address, "release 2").await.unwrap_err();
        assert!(error.report().contains("answers `release 1`, expected `release 2`"), "{}", error.report());
    }
}
