//! What must hold: of the data, of the candidate under traffic, and of the whole platform at the end.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result, Verdict,
    analysis::{Analysis, MetricCheck},
    backend::{AllowedChange, AppliedWorkload, ClusterTarget, DataCheck, Measure, MetricSource, Track},
    steps::{Analyst, MetricAnalyst},
};
use ecolaura_deploy_examples::Http;
use serde_json::Value;

use super::backends::Target;

/// How long an answer may take here.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a migration must not lose. The services write meanwhile, so numbers may grow.
pub fn data() -> Vec<DataCheck> {
    let rows = |table: &str| DataCheck::RowCount { table: table.to_owned(), allowed: AllowedChange::Growth };
    let litres = DataCheck::Sum {
        table: "waterings".to_owned(),
        column: "millilitres".to_owned(),
        allowed: AllowedChange::Growth,
    };
    let mut checks: Vec<DataCheck> = ["plants", "notes", "waterings", "reminders"].map(rows).into();
    checks.extend([litres, DataCheck::ForeignKeys, DataCheck::Structure]);
    checks
}

/// Few errors and quick answers, three times in a row, under the traffic that there is.
pub fn canary(metrics: &Arc<dyn MetricSource>) -> Arc<dyn Analyst> {
    let checks = vec![
        MetricCheck::new("error rate", Measure::ErrorRate).fail_above(0.02).min_requests(5),
        MetricCheck::new("mean latency", Measure::MeanLatency).fail_above(0.4).min_requests(5),
    ];
    Arc::new(MetricAnalyst::new(Arc::clone(metrics), Analysis::new(checks, Duration::from_secs(1), 3)))
}

/// Looks at a colour before any caller does, by asking its pods directly; after the switch, at its metrics.
#[derive(Debug)]
pub struct Preview {
    cluster: Arc<dyn ClusterTarget>,
    after: Arc<dyn Analyst>,
    http: Http,
}

impl Preview {
    /// Asks the pods of `cluster`, then `metrics`.
    pub fn new(cluster: &Arc<dyn ClusterTarget>, metrics: &Arc<dyn MetricSource>) -> Self {
        Self { cluster: Arc::clone(cluster), after: canary(metrics), http: Http::new(PATIENCE) }
    }

    async fn ask(&self, pod: &str) -> Result<String, String> {
        for _ in 0..10 {
            for path in ["/api/summary", "/api/plants"] {
                self.http.text(&format!("http://{pod}{path}")).await.map_err(|error| error.report())?;
            }
        }
        Ok(format!("pod {pod} answered 20 requests"))
    }
}

#[async_trait]
impl Analyst for Preview {
    async fn judge(&self, cx: &Context, candidate: &AppliedWorkload, percent: u8) -> Result<(Verdict, Vec<String>)> {
        if percent > 0 {
            return self.after.judge(cx, candidate, percent).await;
        }
        let status = self.cluster.status(cx, &candidate.namespace).await?;
        let new = status.pods.iter().filter(|pod| pod.track == Track::Candidate);
        let mut lines = Vec::new();
        for pod in new.filter_map(|pod| pod.address.as_deref()) {
            match self.ask(pod).await {
                Ok(line) => lines.push(line),
                Err(why) => return Ok((Verdict::Fail, vec![why])),
            }
        }
        let verdict = if lines.is_empty() { Verdict::NoData } else { Verdict::Pass };
        Ok((verdict, lines))
    }
}

/// Asks the running backend and the site what a user would.
pub async fn platform(cx: Context, target: Target, backend: AppliedWorkload, site: String) -> Result<()> {
    let http = Http::new(PATIENCE);
    let api = address(&backend, super::pipeline::BACKEND)?;
    let summary = json(&http, &format!("{api}/api/summary")).await?;
    expect("plants in the summary", summary["plants"].as_u64() >= Some(1), &summary)?;
    let flags = json(&http, &format!("{api}/api/flags")).await?;
    expect("the flag plant-notes", flags[super::pipeline::FLAG] == Value::Bool(true), &flags)?;
    administrator(&cx, &http, &target, api).await?;
    let page = http.text(&format!("{site}/")).await?;
    expect("the front page", page.contains("/assets/"), &Value::String(page.chars().take(80).collect()))?;
    let config = json(&http, &format!("{site}/config.json")).await?;
    expect("the API's address in config.json", config["api"] == *api, &config)?;
    let lines = vec![format!("{api}: {summary}"), format!("{site}: its pages name their assets and the API")];
    cx.evidence("integration checks", lines);
    Ok(())
}

/// The token in the secret store opens what only an administrator may do. This plant is not there, which is not to be
/// told to anybody else.
async fn administrator(cx: &Context, http: &Http, target: &Target, api: &str) -> Result<()> {
    let reference = target.secrets.resolve(cx, &target.token_name).await?;
    let token = target.secrets.get(cx, &reference).await?;
    let url = format!("{api}/api/plants/1000000");
    for (authorization, expected) in [(None, 401), (Some(format!("Bearer {}", token.expose())), 404)] {
        let answer = http.delete(&url, authorization.as_deref()).await?;
        expect("the administrator's token", answer.status() == expected, &Value::from(answer.status().as_u16()))?;
    }
    Ok(())
}

/// Asks the running notifications service.
pub async fn notifications(cx: Context, live: AppliedWorkload) -> Result<()> {
    let api = address(&live, super::pipeline::NOTIFICATIONS)?;
    let found = json(&Http::new(PATIENCE), &format!("{api}/api/notifications")).await?;
    let number = found["notifications"].as_array().map(Vec::len);
    expect("a list of notifications", number.is_some(), &found)?;
    cx.evidence("notifications", vec![format!("{api}: {} to be sent", number.unwrap_or_default())]);
    Ok(())
}

fn address<'a>(live: &'a AppliedWorkload, service: &str) -> Result<&'a String> {
    let found = live.addresses.iter().find(|(name, _)| name.as_str() == service).map(|(_, address)| address);
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, "check.address", format!("`{service}` has no address")))
}

async fn json(http: &Http, url: &str) -> Result<Value> {
    let text = http.text(url).await?;
    serde_json::from_str(&text).map_err(|error| {
        Error::new(ErrorKind::GateRefused, "check.read", format!("`{url}`: {error}")).with("got", text)
    })
}

fn expect(what: &str, holds: bool, found: &Value) -> Result<()> {
    if holds {
        return Ok(());
    }
    let message = format!("not as expected: {what}; found {found}");
    Err(Error::new(ErrorKind::GateRefused, "check.platform", message).advice("look at the service's log"))
}
