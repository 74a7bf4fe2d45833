//! A whole platform through a whole release, on this machine and with nothing but Rust: tests, images, registry, scan,
//! backup, migration, canary, site, flag, checks, promotion, report.
//!
//! `cargo run --example ship -- --help`
//!
//! The graph is in `ship/pipeline.rs`: begin there. What is shipped is in `ecolaura/`.

#![expect(unreachable_pub, reason = "in a program, `pub` says what a module offers to the others")]

mod ship {
    pub mod approval;
    #[cfg(feature = "aws")]
    pub mod aws;
    pub mod backends;
    pub mod checkout;
    pub mod checks;
    pub mod doctor;
    pub mod down;
    pub mod faults;
    pub mod flags;
    pub mod give_up;
    pub mod images;
    #[cfg(feature = "k8s")]
    pub mod kubernetes;
    pub mod layout;
    pub mod load;
    pub mod make;
    pub mod options;
    pub mod overlay;
    pub mod pipeline;
    pub mod promotion;
    pub mod recovery;
    pub mod release;
    pub mod rollback;
    pub mod session;
    pub mod site;
    pub mod site_server;
    pub mod storage;
    pub mod summary;
}

use std::process::ExitCode;

use clap::Parser as _;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    local::cluster::run_agent_if_asked,
    report::plain::render_plan,
    run::{RunResult, stop_on_signals},
};
use ship::{
    doctor, down, give_up,
    options::Options,
    promotion,
    recovery::{self, Settled},
    rollback,
    session::{Session, style},
    site_server, storage, summary,
};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    if let Some(code) = run_agent_if_asked().or_else(site_server::run_if_asked) {
        return code;
    }
    let options = Options::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&Error::internal("ship.start", "no runtime").with_source(error)),
    };
    let code = runtime.block_on(until_stopped(options));
    // Whatever still reads a file is not waited for.
    runtime.shutdown_background();
    code
}

/// The first signal cancels, as `--on-cancel` says; the second stops at once.
async fn until_stopped(options: Options) -> ExitCode {
    let cancel = CancellationToken::new();
    tokio::select! {
        code = run(options, cancel.clone()) => code.unwrap_or_else(|error| refuse(&error)),
        () = stop_on_signals(cancel) => ExitCode::from(130),
    }
}

async fn run(options: Options, cancel: CancellationToken) -> Result<ExitCode> {
    let cx = Context::new("dev".parse()?);
    if let Some(lines) = storage::only(&cx, &options).await? {
        say(&lines);
        return Ok(ExitCode::SUCCESS);
    }
    let session = Session::open(&cx, options, cancel).await?;
    if session.options.down {
        say(&down::stop(&cx, &session.platform).await?);
        return Ok(ExitCode::SUCCESS);
    }
    if session.options.doctor {
        let (lines, code) = doctor::all(&session).await?;
        say(&lines);
        return Ok(ExitCode::from(code));
    }
    if let Some(run) = &session.options.give_up {
        say(&give_up::close(&session, run).await?);
        return Ok(ExitCode::SUCCESS);
    }
    if session.options.plan {
        return plan(&session).await;
    }
    if !session.options.resume && !session.options.rollback {
        session.check().await?;
    }
    session.serve_sites().await?;
    let Settled { mut outcomes, back } = recovery::all(&session).await?;
    if session.options.resume && outcomes.is_empty() {
        say(&["nothing to resume".to_owned()]);
        return Ok(ExitCode::SUCCESS);
    }
    let before = outcomes.len();
    let new = !session.options.resume && !session.is_cancelled() && !outcomes.iter().any(recovery::blocks);
    if new && session.options.rollback {
        outcomes.extend(rollback::all(&session, &back).await?);
    } else if new {
        outcomes.extend(ship_all(&session).await?);
    }
    say(&summary::lines(&session, &outcomes).await?);
    // What was left open is judged only where nothing new came after it.
    let judged = outcomes.iter().skip(if new { before } else { 0 });
    Ok(ExitCode::from(judged.map(summary::code).max().unwrap_or_default()))
}

/// One environment after the other, until one does not get through.
async fn ship_all(session: &Session) -> Result<Vec<promotion::Outcome>> {
    let mut outcomes = Vec::new();
    for environment in session.options.environments()? {
        let outcome = promotion::ship(session, &session.context(&environment)).await?;
        let through = outcome.result == RunResult::Succeeded;
        outcomes.push(outcome);
        if !through {
            break;
        }
    }
    Ok(outcomes)
}

/// Prints plans until one changes something: what comes after it depends on what it makes.
async fn plan(session: &Session) -> Result<ExitCode> {
    let style = style();
    session.check().await?;
    for environment in session.options.environments()? {
        say(recovery::note(session, &session.context(&environment)).await?.as_slice());
    }
    if session.options.rollback {
        let plans = rollback::plans(session).await?;
        say(&plans.iter().map(|plan| render_plan(plan.summary(), &style)).collect::<Vec<_>>());
        return Ok(ExitCode::SUCCESS);
    }
    let mut environments = session.options.environments()?.into_iter();
    for environment in environments.by_ref() {
        let plan = promotion::plan(session, &session.context(&environment)).await?;
        say(&[render_plan(plan.summary(), &style)]);
        if !plan.summary().is_noop() {
            break;
        }
    }
    say(&environments
        .map(|name| format!("{name}: planned once the release is in the environment before"))
        .collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

fn refuse(error: &Error) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "a program tells its user")]
    {
        match error.operation() {
            // It ends with a list, one a line.
            "ship.options" => eprintln!("ship: {}", error.message()),
            "lock.acquire" if error.kind() == ErrorKind::Conflict => {
                eprintln!("ship: {} (`--wait SECONDS` does that)", error.report());
            }
            _ => eprintln!("ship: {}", error.report()),
        }
    }
    ExitCode::from(summary::refusal(error))
}

#[expect(clippy::print_stdout, reason = "a program tells its user")]
fn say(lines: &[String]) {
    lines.iter().for_each(|line| println!("{line}"));
}
