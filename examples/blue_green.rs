//! A second colour beside the first: it is looked at before any caller sees it, and then has all requests at once.
//!
//! `cargo run --example blue_green`

use std::{process::ExitCode, sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Result, Verdict,
    backend::{AppliedWorkload, ClusterTarget, Track},
    pipeline::{Pipeline, constant},
    run::RunResult,
    steps::{Analyst, Rollout, Strategy},
    store::ObjectRunStore,
};
use ecolaura_deploy_examples::{Http, plan_and_run, runner, tiny};

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

fn main() -> Result<ExitCode> {
    match tiny::serve_if_asked() {
        Some(code) => Ok(code),
        None => deploy(),
    }
}

#[tokio::main]
async fn deploy() -> Result<ExitCode> {
    let (cx, sandbox) = (Context::new("dev".parse()?), tiny::Sandbox::new("blue_green")?);
    let runner = runner(Arc::new(ObjectRunStore::memory()));
    for (answer, live) in [("blue", "blue"), ("green", "green"), ("broken", "green")] {
        let analyst: Arc<dyn Analyst> = Arc::new(Preview(Arc::clone(&sandbox.cluster)));
        let strategy = Strategy::BlueGreen { analyst: Some(analyst), warm: Duration::from_millis(500) };
        let rollout = Rollout::new(Arc::clone(&sandbox.cluster), sandbox.workload(&["backend"])?).strategy(strategy);
        let image = sandbox.admitted(&cx, "backend", answer).await?;
        let mut pipeline = Pipeline::new("backend".parse()?, "dev".parse()?);
        pipeline.add("roll out", rollout, vec![(constant("tiny/backend".to_owned()), constant(image))]);

        let result = plan_and_run(&cx, &runner, pipeline).await?.result;
        assert_eq!(result == RunResult::Succeeded, answer == live);
        let addresses = sandbox.cluster.status(&cx, &"dev".parse()?).await?.addresses;
        for address in addresses.into_values() {
            assert_eq!(Http::new(Duration::from_secs(5)).text(&address).await?.trim(), live);
        }
    }
    Ok(ExitCode::SUCCESS)
}
