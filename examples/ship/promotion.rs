//! From one environment to the next: each has a plan, a run and a record of its own, and hands on a release.

use std::path::{Path, PathBuf};

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    pipeline::Pipeline,
    plan::Plan,
    run::{Finished, RunResult},
    store::StoredReleases,
    vocabulary::{EnvironmentName, Release, ReleaseSequence},
};

use super::{
    backends::{Platform, Target},
    faults::Faults,
    load::{Load, Totals},
    options::ENVIRONMENTS,
    pipeline::{Stage, namespace, strategy},
    release::{Files, next_sequence},
    session::{Session, remark},
};

/// What became of one environment.
#[derive(Debug)]
pub struct Outcome {
    pub environment: EnvironmentName,
    pub run: String,
    pub result: RunResult,
    /// Whether it was stopped by another deployer, who took the environment over.
    pub superseded: bool,
    /// The traffic during the run; none where nothing was to be done.
    pub traffic: Option<Totals>,
}

impl Outcome {
    pub fn new(environment: &EnvironmentName, finished: Finished, traffic: Option<Totals>) -> Self {
        let superseded = finished.was_superseded();
        let Finished { run, result, .. } = finished;
        Self { environment: environment.clone(), run, result, superseded, traffic }
    }
}

/// What goes to an environment.
#[derive(Debug)]
pub enum Source {
    /// It is made there, of the sample.
    Sample { sequence: ReleaseSequence },
    /// It comes from the environment before.
    Promoted { release: Box<Release>, from: EnvironmentName, files: Files },
}

impl Source {
    /// What goes to `environment` now. Fails with `NotFound` if the environment before has no release.
    pub async fn of(platform: &Platform, environment: &EnvironmentName) -> Result<Self> {
        let store = platform.store.as_ref();
        let Some(from) = before(environment)? else {
            return Ok(Self::Sample { sequence: next_sequence(store).await? });
        };
        let release = StoredReleases::new(store, &from).last().await?.ok_or_else(|| {
            let message = format!("{environment} takes the release of {from}, and {from} has none");
            Error::new(ErrorKind::NotFound, "ship.promote", message).advice(format!("ship to {from} first"))
        })?;
        let files = Files::of(platform, &release).await?;
        Ok(Self::Promoted { release: Box::new(release), from, files })
    }

    /// What an open run brings to `environment`. If it cannot be put together any more, it is enough to take it back.
    pub async fn of_open(
        platform: &Platform,
        environment: &EnvironmentName,
        sequence: ReleaseSequence,
    ) -> Result<Self> {
        let Some(from) = before(environment)? else { return Ok(Self::Sample { sequence }) };
        let releases = StoredReleases::new(platform.store.as_ref(), &from).all().await?;
        let found = releases.into_iter().rev().find(|(_, release)| release.sequence == sequence);
        let release = found.map_or_else(|| Release::new(sequence, "unknown"), |(_, release)| release);
        let files = Files::of(platform, &release).await.unwrap_or_default();
        Ok(Self::Promoted { release: Box::new(release), from, files })
    }

    /// The folder of the migrations that go with it.
    pub fn migrations(&self, platform: &Platform) -> PathBuf {
        match self {
            Self::Sample { .. } => platform.layout.app("migrations"),
            Self::Promoted { files, .. } => files.migrations.clone(),
        }
    }
}

/// The environment that a release goes through before `environment`.
pub fn before(environment: &EnvironmentName) -> Result<Option<EnvironmentName>> {
    let place = ENVIRONMENTS.iter().position(|name| *name == environment.as_str());
    place.and_then(|place| place.checked_sub(1)).map(|place| Ok(ENVIRONMENTS[place].parse()?)).transpose()
}

/// The pipeline that brings `source` to the environment of `target`.
pub fn pipeline(
    platform: &Platform,
    target: &Target,
    faults: &Faults,
    source: Source,
    (site, misbehave): (String, bool),
) -> Result<Pipeline> {
    let mut stage = Stage::new(platform, target, faults, site, misbehave)?;
    let incoming = match source {
        Source::Sample { sequence } => stage.make_release(sequence)?,
        Source::Promoted { release, from, files } => stage.take_over(*release, from, files),
    };
    stage.deploy(incoming, strategy(platform, &target.environment))?;
    Ok(stage.finish())
}

/// The steps of all environments, as `env/step`.
pub fn steps(session: &Session) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for environment in ENVIRONMENTS {
        let environment = environment.parse()?;
        let source = match before(&environment)? {
            None => Source::Sample { sequence: ReleaseSequence(0) },
            Some(from) => {
                let release = Box::new(Release::new(ReleaseSequence(0), "any"));
                Source::Promoted { release, from, files: Files::default() }
            }
        };
        let target = session.target(&environment, &source.migrations(&session.platform))?;
        let pipeline = pipeline(&session.platform, &target, &Faults::default(), source, (String::new(), false))?;
        names.extend(pipeline.step_names().map(|step| format!("{environment}/{step}")));
    }
    Ok(names)
}

/// Ships to the environment of `cx`.
pub async fn ship(session: &Session, cx: &Context) -> Result<Outcome> {
    session.platform.storage.furnish(cx.environment())?;
    let mut tries = 1..TRIES;
    loop {
        let (target, pipeline) = prepare(session, cx).await?;
        match run(session, cx, &target, pipeline).await {
            Err(error) if is_overtaken(&error) && tries.next().is_some() => {
                remark(&format!("{}: {}", cx.environment(), error.message()));
            }
            outcome => return outcome,
        }
    }
}

/// How often a plan is made when other deployers are quicker.
const TRIES: usize = 5;

/// Whether another deployer changed something since the plan was made. What is shipped here comes after it then, as a
/// release of its own.
fn is_overtaken(error: &Error) -> bool {
    let older = error.kind() == ErrorKind::Conflict && error.operation() == "release.order";
    older || error.kind() == ErrorKind::StalePlan
}

/// The pipeline of a run to the environment of `cx` that was left open, and brings `sequence`; with the migrations that
/// were kept for it, if they were.
pub async fn once_more(
    session: &Session,
    cx: &Context,
    sequence: ReleaseSequence,
    migrations: Option<PathBuf>,
) -> Result<(Target, Pipeline)> {
    let source = Source::of_open(&session.platform, cx.environment(), sequence).await?;
    let migrations = migrations.unwrap_or_else(|| source.migrations(&session.platform));
    assembled(session, cx, source, &migrations).await
}

/// What would be done in the environment of `cx`. Touches nothing.
pub async fn plan(session: &Session, cx: &Context) -> Result<Plan> {
    let (_, pipeline) = prepare(session, cx).await?;
    session.runner([]).plan(cx, pipeline).await
}

async fn prepare(session: &Session, cx: &Context) -> Result<(Target, Pipeline)> {
    let source = Source::of(&session.platform, cx.environment()).await?;
    let migrations = source.migrations(&session.platform);
    assembled(session, cx, source, &migrations).await
}

async fn assembled(session: &Session, cx: &Context, source: Source, migrations: &Path) -> Result<(Target, Pipeline)> {
    let environment = cx.environment();
    let target = session.target(environment, migrations)?.with_secrets(cx).await?;
    let values = session.run_values(environment);
    let pipeline = pipeline(&session.platform, &target, &session.faults, source, values)?;
    Ok((target, pipeline))
}

/// Plans and runs `pipeline`, under traffic if anything changes.
pub async fn run(session: &Session, cx: &Context, target: &Target, pipeline: Pipeline) -> Result<Outcome> {
    let (platform, environment) = (&session.platform, cx.environment());
    let plan = session.runner([]).plan(cx, pipeline).await?;
    let mut load = None;
    if !plan.summary().is_noop() {
        session.ask(cx, target, plan.summary()).await?;
        load = Some(Load::start(cx, platform, &namespace(environment)?).await?);
    }
    let finished = session.runner(load.as_ref().map(Load::watch)).run(cx, plan).await;
    let traffic = match load {
        Some(load) => Some(load.settle().await),
        None => None,
    };
    Ok(Outcome::new(environment, finished?, traffic))
}
