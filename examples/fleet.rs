//! Releases to three environments at the same time, each in a run of its own, with its own lock and records; then sums up.
//! On a cluster each run is a Kubernetes Job of this very program; the records are in the build folder, which the nodes must
//! see at the same place.
//!
//! `cargo run --example fleet`, or `cargo run --features k8s --example fleet -- --kubeconfig FILE --registry HOST:PORT`

#[cfg(feature = "k8s")]
#[path = "fleet/jobs.rs"]
mod jobs;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args as _, Command, FromArgMatches as _};
use ecolaura_deploy_core::{
    Admitted, Context, Result,
    event::{Event, EventKind, EventSink, FnSink, StepOutcome},
    lock::{LockPolicy, Wait},
    pipeline::{Pipeline, constant},
    run::{Finished, RunResult, Runner},
    steps::{self, Rollout},
    vocabulary::{Name, PinnedImage},
};
use ecolaura_deploy_examples::{place, plan_and_run, tiny, tiny::Sandbox};
use tokio::task::JoinSet;

const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "production"];

#[derive(Debug, Clone, clap::Args)]
struct Options {
    #[command(flatten)]
    place: place::Options,

    /// With --kubeconfig: let the first pod of this environment's run be lost in the middle, to see the run go on
    #[arg(long, value_name = "ENVIRONMENT", requires = "kubeconfig", value_parser = environment)]
    lose: Option<String>,
}

fn environment(given: &str) -> Result<String, String> {
    if ENVIRONMENTS.contains(&given) {
        return Ok(given.to_owned());
    }
    Err(format!("there is no environment `{given}`; there are {}", ENVIRONMENTS.join(", ")))
}

fn main() -> ExitCode {
    #[cfg(feature = "k8s")]
    if let Some(code) = jobs::run_if_asked() {
        return code;
    }
    tiny::serve_if_asked().unwrap_or_else(|| {
        let about = "Releases to three environments at the same time, each in a run of its own.";
        let command = Options::augment_args(Command::new("fleet").about(about).after_help(place::HELP));
        let options = Options::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
        place::run("fleet", &options.place, async |cx: &Context, sandbox: &Sandbox| {
            #[cfg(feature = "k8s")]
            if let Some(there) = &sandbox.there {
                return jobs::release(cx, sandbox, there, options.lose.as_deref()).await;
            }
            release(cx, sandbox).await
        })
    })
}

/// All of them in this process.
async fn release(cx: &Context, sandbox: &Sandbox) -> Result<ExitCode> {
    let mut runs = JoinSet::new();
    for environment in ENVIRONMENTS {
        let image = sandbox.admitted(cx, &service(environment), "release 1").await?;
        let pipeline = pipeline(sandbox, environment, image)?;
        let (cx, runner) = (Context::new(environment.parse()?), runner(sandbox, told()));
        runs.spawn(async move { (environment, plan_and_run(&cx, &runner, pipeline).await) });
    }
    let mut ends: BTreeMap<&str, _> = runs.join_all().await.into_iter().collect();
    let mut succeeded = true;
    for (environment, end) in ENVIRONMENTS.iter().filter_map(|name| ends.remove_entry(name)) {
        succeeded &= matches!(&end, Ok(finished) if finished.result == RunResult::Succeeded);
        place::say(&format!("{environment:10}  {}", became(end)));
    }
    if !succeeded {
        return Ok(ExitCode::FAILURE);
    }
    looked(sandbox, cx).await?;
    Ok(ExitCode::SUCCESS)
}

fn became(end: Result<Finished>) -> String {
    match end.map(|finished| finished.result) {
        Ok(RunResult::Succeeded) => "done".to_owned(),
        Ok(RunResult::RolledBack { failed, cause }) => format!("undone       {failed}: {cause}"),
        Ok(result) => format!("ended        {result:?}"),
        Err(error) => format!("failed       {}", error.report()),
    }
}

/// What each of the runs does.
fn pipeline(sandbox: &Sandbox, environment: &str, image: Admitted<PinnedImage>) -> Result<Pipeline> {
    let service = service(environment);
    let mut pipeline = Pipeline::new("release".parse()?, environment.parse()?);
    let noted = steps::call("note", |cx: Context, (): ()| async move {
        cx.status(format!("the release of {} begins", cx.environment()));
        Ok(())
    });
    let noted = pipeline.add("note", noted, constant(()));
    let workload = sandbox.workload_in(sandbox.namespace_of(&environment.parse()?), &[&service])?;
    let rollout = Rollout::new(Arc::clone(&sandbox.cluster), workload);
    let images = vec![(constant(format!("tiny/{service}")), constant(image))];
    pipeline.step("roll out", rollout, images).after(&noted).add();
    Ok(pipeline)
}

fn service(environment: &str) -> String {
    format!("web-{environment}")
}

/// A lost deployer is believed to be gone after ten seconds of silence, and waited for.
fn runner(sandbox: &Sandbox, events: Arc<dyn EventSink>) -> Runner {
    let lock = LockPolicy::default().term(Duration::from_secs(10)).wait(Wait::Queue(Duration::from_mins(2)));
    Runner::new(Arc::clone(&sandbox.store)).events(events).lock(lock)
}

/// A line for what matters of each run.
fn told() -> Arc<dyn EventSink> {
    Arc::new(FnSink::new(|event: &Event| {
        let step = event.step.as_deref().unwrap_or_default();
        let text = match &event.kind {
            EventKind::RunResumed { kept, .. } => format!("goes on; {kept} of its steps were done before"),
            EventKind::Status { message } => format!("{step}: {message}"),
            EventKind::StepFinished { outcome: StepOutcome::Failed { error }, .. } => {
                format!("{step}: {}", error.message)
            }
            EventKind::StepFinished { outcome, .. } => format!("{step}: {}", word(outcome)),
            _ => return,
        };
        place::say(&format!("{:10}  {text}", event.environment.as_str()));
    }))
}

fn word(outcome: &StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Done => "done",
        StepOutcome::Unchanged => "nothing to do",
        StepOutcome::Kept => "was done before",
        _ => "not started",
    }
}

/// Every environment's service answers with the release.
async fn looked(sandbox: &Sandbox, cx: &Context) -> Result<()> {
    let namespaces: BTreeSet<Name> =
        ENVIRONMENTS.iter().map(|name| Ok(sandbox.namespace_of(&name.parse()?))).collect::<Result<_>>()?;
    for namespace in namespaces {
        for address in sandbox.cluster.status(cx, &namespace).await?.addresses.values() {
            sandbox.sees(address, "release 1").await?;
        }
    }
    Ok(())
}
