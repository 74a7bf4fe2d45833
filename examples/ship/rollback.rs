//! Back to the release before, as a pipeline of its own with a plan of its own.
//!
//! The old code comes first, for it runs on the newer schema too as long as migrations only add; then the database goes
//! back, by the SQL that went with each migration. What people wrote into what only those migrations gave room to is
//! lost with them: a backup is taken before, and the plan says so. A migration without a way down stays, and so does
//! everything before it.

use std::path::{Path, PathBuf};

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    pipeline::Pipeline,
    plan::Plan,
    store::StoredReleases,
    vocabulary::{EnvironmentName, MigrationVersion, Release, ReleaseSequence},
};

use super::{
    backends::Target,
    faults::Faults,
    options::ENVIRONMENTS,
    pipeline::Stage,
    promotion::{Outcome, run},
    release::Files,
    session::Session,
};

/// What an environment goes back to.
#[derive(Debug)]
struct Way {
    to: Release,
    files: Files,
    /// The migrations of the release that is left: they know the way down.
    migrations: PathBuf,
    /// The version that the database goes back to; `None` stays.
    schema: Option<MigrationVersion>,
    /// What whoever reads the plan should know.
    notes: Vec<String>,
}

/// The environments that go back, the last one first. Those without an earlier release are left out, unless there is
/// no other.
async fn environments(session: &Session, settled: &[EnvironmentName]) -> Result<Vec<(EnvironmentName, Way)>> {
    let mut ways = Vec::new();
    let mut without = Vec::new();
    for environment in session.options.environments()?.into_iter().rev() {
        if settled.contains(&environment) {
            continue;
        }
        match way(session, &environment).await? {
            Some(way) => ways.push((environment, way)),
            None => without.push(environment.to_string()),
        }
    }
    if ways.is_empty() && settled.is_empty() {
        let message = format!("there is no release before the present one in {}", without.join(", "));
        return Err(Error::new(ErrorKind::NotFound, "ship.rollback", message)
            .advice("ship a second release first, as with --app"));
    }
    Ok(ways)
}

async fn way(session: &Session, environment: &EnvironmentName) -> Result<Option<Way>> {
    let releases = StoredReleases::new(session.platform.store.as_ref(), environment);
    let (Some(live), Some(to)) = (releases.last().await?, releases.previous().await?) else { return Ok(None) };
    let migrations = Files::of(&session.platform, &live).await?.migrations;
    let files = Files::of(&session.platform, &to).await?;
    Ok(Some(between(migrations, to, files)))
}

/// From the release of `migrations` back to `to`.
fn between(migrations: PathBuf, to: Release, files: Files) -> Way {
    let wanted = to.schema.map(|schema| schema.max);
    let schema = wanted.filter(|version| reversible(&migrations, *version));
    let notes = match (wanted, schema) {
        (Some(wanted), None) => vec![format!("the database stays: a migration above {wanted} has no way down")],
        _ => Vec::new(),
    };
    Way { to, files, migrations, schema, notes }
}

/// The pipeline of a run that was left open on its way back to `sequence`. If it cannot be put together any more, it is
/// enough to take it back.
pub async fn once_more(session: &Session, cx: &Context, sequence: ReleaseSequence) -> Result<(Target, Pipeline)> {
    let platform = &session.platform;
    let releases = StoredReleases::new(platform.store.as_ref(), cx.environment()).all().await?;
    // It may have recorded its end already.
    let newest = |wanted: bool| releases.iter().rev().find(|(_, release)| (release.sequence == sequence) == wanted);
    let of = |wanted| newest(wanted).map_or_else(|| Release::new(sequence, "unknown"), |(_, release)| release.clone());
    let (live, to) = (of(false), of(true));
    let migrations = Files::of(platform, &live).await.unwrap_or_default().migrations;
    let files = Files::of(platform, &to).await.unwrap_or_default();
    let way = between(migrations, to, files);
    let target = session.target(cx.environment(), &way.migrations)?.with_secrets(cx).await?;
    let pipeline = pipeline(session, &target, &session.faults, way)?;
    Ok((target, pipeline))
}

/// Whether every migration above `version` has a way down.
fn reversible(migrations: &Path, version: MigrationVersion) -> bool {
    let Ok(entries) = std::fs::read_dir(migrations) else { return false };
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let number = |name: &str| name.split('_').next().and_then(|digits| digits.parse::<MigrationVersion>().ok());
    let above = names.iter().filter(|name| name.ends_with(".up.sql") && number(name) > Some(version));
    above.into_iter().all(|up| names.contains(&up.replace(".up.sql", ".down.sql")))
}

fn pipeline(session: &Session, target: &Target, faults: &Faults, way: Way) -> Result<Pipeline> {
    let (site, _) = session.run_values(&target.environment);
    let mut stage = Stage::new(&session.platform, target, faults, site, false)?;
    stage.go_back(way.to, &way.files, way.schema, way.notes)?;
    Ok(stage.finish())
}

/// The steps of all environments, as `env/step`.
pub fn steps(session: &Session) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for environment in ENVIRONMENTS {
        let environment: EnvironmentName = environment.parse()?;
        let way = Way {
            to: Release::new(ReleaseSequence(0), "any"),
            files: Files::default(),
            migrations: session.platform.layout.app("migrations"),
            schema: Some(MigrationVersion::default()),
            notes: Vec::new(),
        };
        let target = session.target(&environment, &way.migrations)?;
        let pipeline = pipeline(session, &target, &Faults::default(), way)?;
        names.extend(pipeline.step_names().map(|step| format!("{environment}/{step}")));
    }
    Ok(names)
}

/// Takes every environment back, production first, until one does not get through.
///
/// Those in `settled` had an open run that was taken back, or came to its end: they are back already.
pub async fn all(session: &Session, settled: &[EnvironmentName]) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (environment, way) in environments(session, settled).await? {
        let cx = session.context(&environment);
        let target = session.target(&environment, &way.migrations)?.with_secrets(&cx).await?;
        let pipeline = pipeline(session, &target, &session.faults, way)?;
        let outcome = run(session, &cx, &target, pipeline).await?;
        let through = outcome.result == ecolaura_deploy_core::run::RunResult::Succeeded;
        outcomes.push(outcome);
        if !through {
            break;
        }
    }
    Ok(outcomes)
}

/// The plan for each environment that goes back. Touches nothing.
pub async fn plans(session: &Session) -> Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for (environment, way) in environments(session, &[]).await? {
        let cx = session.context(&environment);
        let target = session.target(&environment, &way.migrations)?.with_secrets(&cx).await?;
        let pipeline = pipeline(session, &target, &session.faults, way)?;
        plans.push(session.runner([]).plan(&cx, pipeline).await?);
    }
    Ok(plans)
}
