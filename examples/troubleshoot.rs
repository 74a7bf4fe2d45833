//! A release that ends as soon as it starts: what is wrong with it, as somebody reads it at night, and the way back.
//!
//! `cargo run --example troubleshoot`, on a cluster `cargo run --features k8s --example troubleshoot -- --help`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use ecolaura_deploy_core::{
    Context, Result,
    backend::{ApplyRequest, Placement, RolloutState},
};
use ecolaura_deploy_examples::{
    place::{self, say},
    tiny::{self, Sandbox},
};

const NAME: &str = "troubleshoot";

/// What the broken release says before it ends.
const WHY: &str = "cannot reach the database: DATABASE_URL is not set";

/// Rolls out a release that ends as soon as it starts, shows what is wrong with it, and goes back to the one before.
/// With --namespace it only looks at what runs there already.
///
/// 0 means that the cause was found; with --namespace, that there are pods and all of them are fine.
#[derive(Debug, Parser)]
#[command(name = NAME, after_help = place::HELP)]
struct Options {
    #[command(flatten)]
    place: place::Options,

    /// With --kubeconfig: only look at what runs in this namespace, and change nothing
    #[arg(long, value_name = "NAME", requires = "kubeconfig", conflicts_with_all = ["registry", "down"])]
    namespace: Option<String>,

    /// With --namespace: only at the pods behind this Service
    #[arg(long, value_name = "NAME", requires = "namespace")]
    service: Option<String>,
}

fn main() -> ExitCode {
    if let Some(code) = tiny::serve_if_asked() {
        return code;
    }
    let Options { place: options, namespace, service } = Options::parse();
    let kubeconfig = options.kubeconfig.clone();
    match (&kubeconfig, namespace) {
        (Some(kubeconfig), Some(namespace)) => place::block_on(NAME, look(kubeconfig, namespace, service)),
        _ => place::run(NAME, &options, async |cx, sandbox| break_and_mend(cx, sandbox, kubeconfig).await),
    }
}

async fn break_and_mend(cx: &Context, sandbox: &Sandbox, kubeconfig: Option<PathBuf>) -> Result<ExitCode> {
    say("rolling out release 1, which works");
    if let RolloutState::Failed { cause, chain } = release(cx, sandbox, "release 1").await? {
        say(&format!("it does not: {cause}\n  {}", chain.join("\n  ")));
        return Ok(ExitCode::FAILURE);
    }
    let before = sandbox.cluster.status(cx, &sandbox.namespace).await?;

    say("rolling out release 2, which ends as soon as it starts");
    let began = Instant::now();
    let state = release(cx, sandbox, &format!("crash: {WHY}")).await?;
    say(&format!("given up after {:.1} s; what is wrong:\n", began.elapsed().as_secs_f32()));
    let text = match &kubeconfig {
        Some(kubeconfig) => diagnosis(cx, kubeconfig, sandbox.namespace.as_str(), Some("backend")).await?.0,
        None => told(cx, sandbox, &state).await?,
    };
    say(&text);

    sandbox.cluster.restore(cx, &before.snapshot).await?;
    say("release 1 has its place again");
    for address in before.addresses.values() {
        sandbox.sees(address, "release 1").await?;
    }
    let found = text.contains("crash loop") && text.contains(WHY);
    Ok(if found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Rolls out the backend that answers `answer`, and waits for what becomes of it.
async fn release(cx: &Context, sandbox: &Sandbox, answer: &str) -> Result<RolloutState> {
    let cx = cx.clone().with_deadline_in(Duration::from_mins(2));
    let image = sandbox.image(&cx, "backend", answer).await?;
    let workload = sandbox.workload(&["backend"])?.image("tiny/backend", image);
    let applied = sandbox.cluster.apply(&cx, &ApplyRequest::new(workload, Placement::Replace)).await?;
    sandbox.cluster.wait_until_ready(&cx, &applied).await
}

/// What any [`ClusterTarget`](ecolaura_deploy_core::backend::ClusterTarget) can tell.
async fn told(cx: &Context, sandbox: &Sandbox, state: &RolloutState) -> Result<String> {
    let RolloutState::Failed { cause, chain } = state else { return Ok("nothing is broken\n".to_owned()) };
    let status = sandbox.cluster.status(cx, &sandbox.namespace).await?;
    let log = sandbox.cluster.logs(cx, &sandbox.namespace, &"backend".parse()?, 5).await?;
    let pods = status.pods.iter().map(|pod| {
        let mark = if pod.ready { '✓' } else { '✗' };
        format!("{mark} {}, revision {}: {}, {} restarts", pod.name, pod.revision, pod.phase, pod.restarts)
    });
    let parts: [(String, Vec<String>); 4] = [
        (format!("{}: {cause}", sandbox.namespace), chain.clone()),
        ("Pods".to_owned(), pods.collect()),
        ("Log, the newest last".to_owned(), log),
        ("Events, the newest last".to_owned(), status.events),
    ];
    let part = |(title, lines): &(String, Vec<String>)| format!("{title}\n  {}\n", lines.join("\n  "));
    Ok(parts.iter().map(part).collect::<Vec<_>>().join("\n"))
}

/// Looks at what runs in `namespace`, and changes nothing.
async fn look(kubeconfig: &Path, namespace: String, service: Option<String>) -> Result<ExitCode> {
    let (text, fine) = diagnosis(&Context::new("dev".parse()?), kubeconfig, &namespace, service.as_deref()).await?;
    say(text.trim_end());
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong on the cluster of `kubeconfig`, as text, and whether all is fine.
#[cfg(feature = "k8s")]
async fn diagnosis(cx: &Context, kubeconfig: &Path, namespace: &str, service: Option<&str>) -> Result<(String, bool)> {
    use ecolaura_deploy_k8s::diagnose::{Health, Selection, diagnose};

    let connection = place::connect(cx, kubeconfig).await?;
    let selection = match service {
        Some(service) => Selection::service(namespace, service),
        None => Selection::all(namespace),
    };
    let found = diagnose(cx, &connection, &selection).await?;
    let pods = found.pods.known().map_or(&[][..], Vec::as_slice);
    let fine = !pods.is_empty() && pods.iter().all(|pod| pod.health > Health::Waiting);
    let broken = found.workloads.iter().any(|workload| workload.health == Health::Broken);
    Ok((found.to_string(), fine && !broken))
}

#[cfg(not(feature = "k8s"))]
#[expect(clippy::unused_async, reason = "it is in the other")]
async fn diagnosis(_: &Context, _: &Path, _: &str, _: Option<&str>) -> Result<(String, bool)> {
    Err(place::without_kubernetes(NAME))
}
