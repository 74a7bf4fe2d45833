//! What an earlier call left open: a killed process, one that was stopped to be resumed, or a run that waits. It comes
//! before anything new.

use std::path::PathBuf;

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    lock::{self, Gone},
    pipeline::{Landing, Pipeline},
    plan::PlanSummary,
    run::{Finished, RunResult, Runner},
    store::{OpenRun, RecordBody, read_run},
    vocabulary::{Digest, EnvironmentName},
};

use super::{
    backends::Platform,
    load::Load,
    make::KEEP_MIGRATIONS,
    pipeline::{APPROVE, namespace},
    promotion::{self, Outcome},
    rollback,
    session::{Session, remark},
};

/// What is done about an open run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is gone on with, and refused if it was of something else.
    Resume,
    /// It is gone on with where that is possible, and taken back otherwise.
    Recover,
    /// It is taken back.
    TakeBack,
}

impl Way {
    /// With `--rollback`, what was brought and is not there yet is what to go back from.
    fn of(session: &Session, open: &OpenRun) -> Self {
        match open.landing {
            _ if session.options.resume => Self::Resume,
            Landing::Back(_) => Self::Recover,
            _ if session.options.rollback => Self::TakeBack,
            _ => Self::Recover,
        }
    }

    async fn go(self, runner: &Runner, cx: &Context, pipeline: Pipeline) -> Result<Option<Finished>> {
        match self {
            Self::Resume => runner.resume(cx, pipeline).await,
            Self::Recover => runner.recover(cx, pipeline).await,
            Self::TakeBack => runner.roll_back(cx, pipeline).await,
        }
    }
}

/// What became of what was left open.
#[derive(Debug, Default)]
pub struct Settled {
    pub outcomes: Vec<Outcome>,
    /// The environments that went back to the release before by that.
    pub back: Vec<EnvironmentName>,
}

/// Settles what is open in the environments that are asked for.
pub async fn all(session: &Session) -> Result<Settled> {
    let mut settled = Settled::default();
    for environment in session.options.environments()? {
        let Some((outcome, way)) = settle(session, &session.context(&environment)).await? else { continue };
        let back = match outcome.result {
            RunResult::RolledBack { .. } => way == Way::TakeBack,
            RunResult::Succeeded => session.options.rollback,
            _ => false,
        };
        settled.back.extend(back.then_some(environment));
        settled.outcomes.push(outcome);
        if session.is_cancelled() {
            break;
        }
    }
    Ok(settled)
}

/// Whether nothing new may begin after `outcome`: it is still open, or somebody has to look at it.
pub fn blocks(outcome: &Outcome) -> bool {
    matches!(outcome.result, RunResult::Suspended { .. } | RunResult::NeedsOperator { .. })
}

/// What is open in the environment of `cx`, in a line, for whoever reads a plan.
pub async fn note(session: &Session, cx: &Context) -> Result<Option<String>> {
    let Some(open) = session.runner([]).environment(cx).await?.open else { return Ok(None) };
    let left = is_left(&session.platform, cx.environment()).await?;
    Ok(left.then(|| format!("{}; the next `ship` settles it first", found(cx.environment(), &open))))
}

async fn settle(session: &Session, cx: &Context) -> Result<Option<(Outcome, Way)>> {
    let environment = cx.environment();
    let Some(open) = session.runner([]).environment(cx).await?.open else { return Ok(None) };
    let way = Way::of(session, &open);
    // Of one who still works on it the lock tells more.
    if is_left(&session.platform, environment).await? {
        let next = if way == Way::TakeBack { "taking it back" } else { "going on" };
        remark(&format!("{}; {next}", found(environment, &open)));
    }
    session.platform.storage.furnish(environment)?;
    let outcome = go_on(session, cx, &open, way).await.map_err(|error| advise(error, way, &open))?;
    Ok(outcome.map(|outcome| (outcome, way)))
}

/// Under traffic, as any run.
async fn go_on(session: &Session, cx: &Context, open: &OpenRun, way: Way) -> Result<Option<Outcome>> {
    let environment = cx.environment();
    let left = Left::of(&session.platform, environment, &open.run).await;
    let (target, pipeline) = match open.landing {
        Landing::Back(to) => rollback::once_more(session, cx, to).await?,
        landing => promotion::once_more(session, cx, landing.sequence().unwrap_or_default(), left.migrations).await?,
    };
    if let Some(plan) = left.to_approve.filter(|_| way != Way::TakeBack) {
        session.ask(cx, &target, &plan).await?;
    }
    let load = Load::start(cx, &session.platform, &namespace(environment)?).await?;
    let finished = way.go(&session.runner([load.watch()]), cx, pipeline).await;
    let traffic = Some(load.settle().await);
    Ok(finished?.map(|finished| Outcome::new(environment, finished, traffic)))
}

fn advise(error: Error, way: Way, open: &OpenRun) -> Error {
    if error.kind() == ErrorKind::Corrupt && error.operation() == "store.read" {
        let give_up = format!("close the run as it is with `ship --give-up {}`", open.run);
        return error.advice(format!("restore it from a copy, or {give_up} and look at what it did"));
    }
    if way == Way::Resume && error.kind() == ErrorKind::Conflict && error.operation() == "run.resume" {
        return error.advice("call `ship` without --resume: it takes that run back, and ships what is here");
    }
    error
}

/// Whether nobody works on the environment any more, as far as this machine can tell.
async fn is_left(platform: &Platform, environment: &EnvironmentName) -> Result<bool> {
    let seen = lock::look(platform.store.as_ref(), environment).await?;
    Ok(seen.is_none_or(|seen| seen.released || seen.holder.is_some_and(|holder| holder.is_gone() == Gone::Yes)))
}

fn found(environment: &EnvironmentName, open: &OpenRun) -> String {
    let release = open.landing.sequence().map(|sequence| format!(" of {sequence}")).unwrap_or_default();
    let begun = open.since.map(|since| format!(", begun at {},", since.strftime("%Y-%m-%d %H:%M UTC")));
    let holder = open.holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default();
    format!("{environment}: run {}{release}{} was left open{holder}", open.run, begun.unwrap_or_default())
}

/// What the records of an open run tell, where they can be read.
#[derive(Debug, Default)]
struct Left {
    /// The folder of the migrations that went with it, if it came as far as keeping them. They know the way down.
    migrations: Option<PathBuf>,
    /// What a person has to agree to, and did not yet.
    to_approve: Option<PlanSummary>,
}

impl Left {
    async fn of(platform: &Platform, environment: &EnvironmentName, run: &str) -> Self {
        let mut left = Self::default();
        // What is damaged is told by whoever goes on.
        let records = read_run(platform.store.as_ref(), environment, run).await.unwrap_or_default();
        let mut migrations = None;
        for record in records {
            match record.body {
                RecordBody::RunStarted { plan, mut known, .. } => {
                    migrations = known.remove(KEEP_MIGRATIONS);
                    left.to_approve = Some(plan).filter(|plan| plan.steps.iter().any(|step| step.name == APPROVE));
                }
                RecordBody::Done { step, .. } if step == APPROVE => left.to_approve = None,
                RecordBody::Done { step, output, .. } | RecordBody::Unchanged { step, output, .. }
                    if step == KEEP_MIGRATIONS =>
                {
                    migrations = Some(output);
                }
                _ => {}
            }
        }
        if let Some(digest) = migrations.as_ref().and_then(|digest| digest.as_str()?.parse::<Digest>().ok())
            && platform.kept.holds(&digest).await.unwrap_or_default()
        {
            left.migrations = Some(platform.kept.path(&digest));
        }
        left
    }
}
