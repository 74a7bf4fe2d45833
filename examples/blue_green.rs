//! A second colour beside the first: it is looked at before any caller sees it, and then has all requests at once.
//!
//! `cargo run --example blue_green`, on a cluster `cargo run --features k8s --example blue_green -- --help`

use std::{process::ExitCode, sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Result, Verdict,
    backend::{AppliedWorkload, ClusterTarget, Track},
    pipeline::{Pipeline, constant},
    run::RunResult,
    steps::{Analyst, Rollout, Strategy},
};
use ecolaura_deploy_examples::{Http, place, plan_and_run, runner, tiny::Sandbox};

/// Asks each new pod directly.
#[derive(Debug)]
struct Preview(Arc<dyn ClusterTarget>);

#[async_trait]
impl Analyst for Preview {
    async fn judge(&self, cx: &Context, green: &AppliedWorkload, percent: u8) -> Result<(Verdict, Vec<String>)> {
        if percent > 0 {
            return Ok((Verdict::Pass, vec!["it was looked at before".to_owned()]));
        }
        let http = Http::new(Duration::from_secs(5));
        let pods = self.0.status(cx, &green.namespace).await?.pods;
        for address in pods.into_iter().filter(|pod| pod.track == Track::Candidate).filter_map(|pod| pod.address) {
            if let Err(error) = http.text(&format!("http://{address}/")).await {
                return Ok((Verdict::Fail, vec![error.report()]));
            }
        }
        Ok((Verdict::Pass, vec!["every pod answers".to_owned()]))
    }
}

const ABOUT: &str = "\
Starts a second colour beside the first: it is looked at before any caller sees it, and then has all requests at once. \
The third does not pass, and no caller ever sees it.";

fn main() -> ExitCode {
    place::main("blue_green", ABOUT, deploy)
}

async fn deploy(cx: &Context, sandbox: &Sandbox) -> Result<ExitCode> {
    let runner = runner(Arc::clone(&sandbox.store));
    let done = sandbox.done(cx, "backend", &["blue", "green"]).await?;
    for (answer, live) in &[("blue", "blue"), ("green", "green"), ("broken", "green")][done..] {
        let analyst: Arc<dyn Analyst> = Arc::new(Preview(Arc::clone(&sandbox.cluster)));
        let strategy = Strategy::BlueGreen { analyst: Some(analyst), warm: Duration::from_millis(500) };
        let rollout = Rollout::new(Arc::clone(&sandbox.cluster), sandbox.workload(&["backend"])?).strategy(strategy);
        let image = sandbox.admitted(cx, "backend", answer).await?;
        let mut pipeline = Pipeline::new("backend".parse()?, "dev".parse()?);
        pipeline.add("roll out", rollout, vec![(constant("tiny/backend".to_owned()), constant(image))]);

        let result = plan_and_run(cx, &runner, pipeline).await?.result;
        assert_eq!(result == RunResult::Succeeded, answer == live);
        for address in sandbox.cluster.status(cx, &sandbox.namespace).await?.addresses.into_values() {
            if !sandbox.sees(&address, live).await? {
                place::say("the pods of the next colours cannot be looked at either: they are left out");
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
