//! The last lines: what became of each environment, where it answers, and what to do.

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    report::{Closing, RunReport},
    run::RunResult,
    vocabulary::EnvironmentName,
};

use super::{
    options::ENVIRONMENTS,
    pipeline::{BACKEND, NOTIFICATIONS, namespace},
    promotion::Outcome,
    session::Session,
};

/// 0 done, 1 rolled back in whole or in part, 3 an operator is needed, 4 waiting or stopped, 5 another deployer took the
/// environment over.
pub fn code(outcome: &Outcome) -> u8 {
    match outcome.result {
        RunResult::Succeeded => 0,
        RunResult::NeedsOperator { .. } => 3,
        RunResult::Suspended { .. } if outcome.superseded => 5,
        RunResult::Suspended { .. } => 4,
        _ => 1,
    }
}

/// 2 for what was asked for wrongly; 5 where another deployer is at work; 1 for what else went wrong before a run could
/// begin.
pub fn refusal(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::NotFound => 2,
        ErrorKind::Conflict if ["lock.acquire", "doctor.fix"].contains(&error.operation()) => 5,
        ErrorKind::Fenced => 5,
        _ => 1,
    }
}

/// Everything that is printed at the end.
pub async fn lines(session: &Session, outcomes: &[Outcome]) -> Result<Vec<String>> {
    let runs = session.runs();
    let mut lines = vec![String::new()];
    for outcome in outcomes {
        let Some(run) = run_of(&runs, outcome) else { continue };
        lines.push(format!("{:12}{}", outcome.environment.as_str(), run.closing().headline));
        lines.extend(outcome.traffic.map(|totals| format!("{:12}{totals}", "")));
    }
    let addresses = addresses(session).await?;
    if !addresses.is_empty() {
        lines.push(String::new());
        lines.extend(addresses);
        lines.push(format!("{:12}{}", "", stop(session)));
    }
    lines.push(format!("{:12}{}", "report", session.report()?.display()));
    let failed = outcomes.iter().find(|outcome| outcome.result != RunResult::Succeeded);
    if let Some(run) = failed.and_then(|outcome| run_of(&runs, outcome)) {
        lines.extend(ending(&run.environment, &run.closing()));
    }
    Ok(lines)
}

fn run_of<'a>(runs: &'a [RunReport], outcome: &Outcome) -> Option<&'a RunReport> {
    runs.iter().find(|run| run.run == outcome.run)
}

/// What happened, why, what to do: the last lines after a failure.
fn ending(environment: &EnvironmentName, closing: &Closing) -> Vec<String> {
    let mut lines = vec![String::new(), format!("{environment}: {}", closing.what)];
    lines.extend(closing.why.iter().map(|why| format!("  why   {}", one_line(why))));
    lines.extend(closing.remaining.iter().map(|step| format!("  left  {step}")));
    lines.extend(closing.next.iter().map(|next| format!("  do    {next}")));
    lines.extend(closing.commands.iter().map(|command| format!("        {command}")));
    lines
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where every environment answers.
async fn addresses(session: &Session) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for environment in ENVIRONMENTS {
        let environment: EnvironmentName = environment.parse()?;
        let cx = Context::new(environment.clone());
        // An agent that does not run has nothing that answers.
        if !session.platform.host.is_up() {
            continue;
        }
        let found = session.platform.cluster.status(&cx, &namespace(&environment)?).await?.addresses;
        let service = |name: &str| {
            let found = found.iter().find(|(service, _)| service.as_str() == name);
            found.map_or_else(String::new, |(_, url)| format!("{name} {url}"))
        };
        if found.is_empty() {
            continue;
        }
        let site = session.site_address(&environment).map_or_else(String::new, |url| format!("site {url}/"));
        let all = [site, service(BACKEND), service(NOTIFICATIONS)].join("  ");
        lines.push(format!("{:12}{all}", environment.as_str()));
    }
    Ok(lines)
}

/// The command that ends everything, as it would be typed here.
fn stop(session: &Session) -> String {
    let dir = session.options.dir.as_ref().map_or_else(String::new, |dir| format!(" --dir {}", dir.display()));
    let stays = session.options.keep || session.options.kubeconfig.is_some();
    let stay = if stays { "this stays up" } else { "this stays up for 10 minutes without use" };
    let place = session.options.place();
    let features = session.options.features();
    format!("{stay}; stop it with: cargo run{features} --example ship -- --down{dir}{place}")
}
