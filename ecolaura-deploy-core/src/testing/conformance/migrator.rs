//! The suite of [`Migrator`].
#![expect(clippy::panic, reason = "a suite fails by panicking, as tests do")]

use std::{any::Any, fmt, num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{
    fencing::{Deployers, left_out, refused},
    runner,
};
use crate::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{AllowedChange, BackupLevel, DataCheck, Measurements, Migrator},
    vocabulary::{EnvironmentName, MigrationVersion},
};

/// What stands around the migrator under test.
#[async_trait]
pub trait MigratorWorld: fmt::Debug + Send + Sync {
    /// Writes a migration's file, in the place of one of its name.
    fn put_file(&self, file: &str, sql: &str);

    /// Removes a migration's file.
    fn remove_file(&self, file: &str);

    /// Writes data as a service does: on a connection of its own, closed before the answer.
    async fn execute(&self, sql: &str) -> Result<()>;

    /// Leaves the applied `version` in the ledger as begun and not ended.
    async fn make_dirty(&self, version: MigrationVersion) -> Result<()>;

    /// Another migrator of the same database and files, as another process has it.
    fn another(&self) -> Arc<dyn Migrator>;
}

/// A database that is not there yet, an empty folder of migrations, and whatever must live as long as they.
#[derive(Debug)]
pub struct Fixture {
    /// The backend.
    pub migrator: Arc<dyn Migrator>,
    /// What stands around it.
    pub world: Arc<dyn MigratorWorld>,
    /// Dropped after the case: a temporary directory, a server.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl Fixture {
    /// `migrator` in `world` with `guard` beside it.
    pub fn new(migrator: Arc<dyn Migrator>, world: Arc<dyn MigratorWorld>, guard: impl Any + Send + Sync) -> Self {
        Self { migrator, world, guard: Box::new(guard) }
    }
}

/// Runs every case, each in a fresh world of `make`, and panics with the names of those that failed and why. The SQL in
/// them is what every database speaks. Says so where the cases about older epochs are left out.
///
/// # Panics
/// If a case fails.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Fixture>,
{
    suite_at_once(NonZeroUsize::MIN, make).await;
}

/// [`suite`] with so many cases at a time, for migrators whose calls take long.
///
/// # Panics
/// If a case fails.
pub async fn suite_at_once<F, Fut>(at_once: NonZeroUsize, make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Fixture>,
{
    runner::run_at_once(at_once, "migrator", CASES, async || Bench::new(make().await)).await;
}

const CASES: &[(&str, runner::Case<Bench>)] = runner::cases![
    everything_is_pending_in_a_new_database,
    planning_changes_nothing,
    migrating_applies_in_order_and_once,
    a_target_between_is_where_it_stops,
    an_unknown_target_is_refused,
    a_failing_migration_leaves_nothing_of_itself,
    a_first_failure_has_no_effect,
    reverting_goes_down_in_order_and_once,
    what_has_no_way_down_is_refused_before_anything,
    an_older_checkout_has_nothing_pending_and_can_revert,
    every_bad_file_is_named,
    a_version_below_the_head_is_refused,
    an_edited_file_is_named,
    a_dirty_database_is_named,
    of_two_at_once_each_migration_is_applied_once,
    a_backup_is_taken_once_for_a_key,
    a_new_database_can_be_backed_up,
    a_restore_brings_back_what_was_there,
    a_backup_that_is_not_there_is_named,
    data_is_measured,
    strange_names_measure_nothing,
    a_cancelled_call_does_nothing,
    an_older_epoch_changes_nothing,
    a_restore_brings_no_older_epoch_back,
];

struct Bench {
    migrator: Arc<dyn Migrator>,
    world: Arc<dyn MigratorWorld>,
    _guard: Box<dyn Any + Send + Sync>,
    cx: Context,
}

const V0: MigrationVersion = MigrationVersion(0);
const V1: MigrationVersion = MigrationVersion(1);
const V2: MigrationVersion = MigrationVersion(2);
const V3: MigrationVersion = MigrationVersion(3);

const PLANTS: &str = "CREATE TABLE plants (id INTEGER PRIMARY KEY, height INTEGER NOT NULL);\n";
const SEEDS: &str = "INSERT INTO plants (id, height) VALUES (1, 10), (2, 20);\n";
const POTS: &str = "CREATE TABLE pots (id INTEGER PRIMARY KEY);\n";

/// Three migrations: the first and the last can go down, the second cannot.
const FILES: [(&str, &str); 5] = [
    ("1_plants.up.sql", PLANTS),
    ("1_plants.down.sql", "DROP TABLE plants;\n"),
    ("2_seeds.sql", SEEDS),
    ("3_pots.up.sql", POTS),
    ("3_pots.down.sql", "DROP TABLE pots;\n"),
];

impl Bench {
    fn new(Fixture { migrator, world, guard }: Fixture) -> Result<Self> {
        let cx = Context::new(EnvironmentName::new("test")?);
        Ok(Self { migrator, world, _guard: guard, cx })
    }

    fn put(&self, files: &[(&str, &str)]) {
        files.iter().for_each(|(file, sql)| self.world.put_file(file, sql));
    }

    /// All of [`FILES`], applied up to `target`.
    async fn at(&self, target: MigrationVersion) -> Result<()> {
        self.put(&FILES);
        self.migrator.migrate(&self.cx, target).await.map(drop)
    }

    async fn applied(&self) -> Result<Vec<i64>> {
        Ok(self.migrator.plan(&self.cx).await?.applied.into_iter().map(|version| version.0).collect())
    }

    async fn rows(&self, table: &str) -> Result<Option<i64>> {
        let check = rows(table);
        let measured = self.migrator.measure(&self.cx, std::slice::from_ref(&check)).await?;
        Ok(value(&measured, &check))
    }

    async fn plan_fails(&self, kind: ErrorKind) -> String {
        fails(kind, self.migrator.plan(&self.cx).await).report()
    }
}

fn rows(table: &str) -> DataCheck {
    DataCheck::RowCount { table: table.to_owned(), allowed: AllowedChange::None }
}

fn sum(table: &str, column: &str) -> DataCheck {
    DataCheck::Sum { table: table.to_owned(), column: column.to_owned(), allowed: AllowedChange::None }
}

fn value(measured: &Measurements, check: &DataCheck) -> Option<i64> {
    match measured.0.get(&check.name()) {
        Some(value) => *value,
        None => panic!("`{}` was not measured", check.name()),
    }
}

fn fails<T>(kind: ErrorKind, result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("succeeded, expected an error: {kind}"),
        Err(error) if error.kind() == kind => error,
        Err(error) => panic!("expected an error: {kind}, got {error:?}"),
    }
}

fn names(report: &str, parts: &[&str]) {
    for part in parts {
        assert!(report.contains(part), "no `{part}` in: {report}");
    }
}

async fn everything_is_pending_in_a_new_database(bench: &Bench) -> Result<()> {
    assert_eq!(bench.migrator.plan(&bench.cx).await?.target(), V0);
    bench.put(&FILES);
    let plan = bench.migrator.plan(&bench.cx).await?;
    assert_eq!((plan.head(), plan.target(), plan.applied.len()), (V0, V3, 0));
    let found: Vec<_> =
        plan.pending.iter().map(|one| (one.version, one.description.as_str(), one.reversible)).collect();
    assert_eq!(found, [(V1, "plants", true), (V2, "seeds", false), (V3, "pots", true)]);
    assert_eq!(plan.pending[0].up, PLANTS);
    Ok(())
}

async fn planning_changes_nothing(bench: &Bench) -> Result<()> {
    bench.put(&FILES);
    for _ in 0..2 {
        assert_eq!(bench.migrator.plan(&bench.cx).await?.pending.len(), 3);
    }
    assert_eq!(bench.rows("plants").await?, None);
    Ok(())
}

async fn migrating_applies_in_order_and_once(bench: &Bench) -> Result<()> {
    bench.put(&FILES);
    let report = bench.migrator.migrate(&bench.cx, V3).await?;
    assert_eq!((report.from, report.to, report.done), (V0, V3, vec![V1, V2, V3]));
    let again = bench.migrator.migrate(&bench.cx, V3).await?;
    assert_eq!((again.from, again.to, again.done), (V3, V3, vec![]));
    assert_eq!((bench.applied().await?, bench.rows("plants").await?), (vec![1, 2, 3], Some(2)));
    assert!(bench.migrator.plan(&bench.cx).await?.pending.is_empty());
    Ok(())
}

async fn a_target_between_is_where_it_stops(bench: &Bench) -> Result<()> {
    bench.at(V2).await?;
    assert_eq!(bench.applied().await?, [1, 2]);
    let report = bench.migrator.migrate(&bench.cx, V1).await?;
    assert_eq!((report.to, report.done), (V2, vec![]), "migrating never goes down");
    assert_eq!(bench.migrator.migrate(&bench.cx, V3).await?.done, [V3]);
    Ok(())
}

async fn an_unknown_target_is_refused(bench: &Bench) -> Result<()> {
    bench.at(V1).await?;
    fails(ErrorKind::InvalidInput, bench.migrator.migrate(&bench.cx, MigrationVersion(9)).await);
    fails(ErrorKind::InvalidInput, bench.migrator.revert(&bench.cx, MigrationVersion(9)).await);
    assert_eq!(bench.applied().await?, [1]);
    Ok(())
}

async fn a_failing_migration_leaves_nothing_of_itself(bench: &Bench) -> Result<()> {
    bench.put(&FILES);
    bench.put(&[(
        "2_seeds.sql",
        "INSERT INTO plants (id, height) VALUES (1, 10);\nINSERT INTO nowhere (id) VALUES (1);\n",
    )]);
    let error = fails(ErrorKind::InvalidInput, bench.migrator.migrate(&bench.cx, V3).await);
    assert_eq!(error.effect(), Effect::Partial);
    names(&error.report(), &["2_seeds.sql", "nowhere"]);
    assert_eq!((bench.applied().await?, bench.rows("plants").await?), (vec![1], Some(0)));
    bench.put(&FILES);
    assert_eq!(bench.migrator.migrate(&bench.cx, V3).await?.done, [V2, V3]);
    assert_eq!(bench.rows("plants").await?, Some(2));
    Ok(())
}

async fn a_first_failure_has_no_effect(bench: &Bench) -> Result<()> {
    bench.put(&[("1_broken.sql", "CREATE TABLE a (id INTEGER);\nTHIS IS NO SQL;\n")]);
    let error = fails(ErrorKind::InvalidInput, bench.migrator.migrate(&bench.cx, V1).await);
    assert_eq!(error.effect(), Effect::None);
    assert_eq!((bench.applied().await?, bench.rows("a").await?), (vec![], None));
    Ok(())
}

async fn reverting_goes_down_in_order_and_once(bench: &Bench) -> Result<()> {
    bench.put(&FILES);
    bench.put(&[("2_seeds.up.sql", SEEDS), ("2_seeds.down.sql", "DELETE FROM plants;\n")]);
    bench.world.remove_file("2_seeds.sql");
    bench.migrator.migrate(&bench.cx, V3).await?;
    let report = bench.migrator.revert(&bench.cx, V1).await?;
    assert_eq!((report.from, report.to, report.done), (V3, V1, vec![V3, V2]));
    assert_eq!((bench.rows("plants").await?, bench.rows("pots").await?), (Some(0), None));
    assert!(bench.migrator.revert(&bench.cx, V1).await?.done.is_empty());
    assert_eq!(bench.migrator.revert(&bench.cx, V0).await?.done, [V1]);
    assert_eq!(bench.migrator.migrate(&bench.cx, V3).await?.done, [V1, V2, V3]);
    Ok(())
}

async fn what_has_no_way_down_is_refused_before_anything(bench: &Bench) -> Result<()> {
    bench.at(V3).await?;
    let error = fails(ErrorKind::Unsupported, bench.migrator.revert(&bench.cx, V1).await);
    assert_eq!(error.effect(), Effect::None);
    names(&error.report(), &["2_seeds.sql"]);
    assert_eq!((bench.applied().await?, bench.rows("pots").await?), (vec![1, 2, 3], Some(0)));
    assert_eq!(bench.migrator.revert(&bench.cx, V2).await?.done, [V3]);
    Ok(())
}

async fn an_older_checkout_has_nothing_pending_and_can_revert(bench: &Bench) -> Result<()> {
    bench.at(V3).await?;
    bench.world.remove_file("3_pots.up.sql");
    bench.world.remove_file("3_pots.down.sql");
    let plan = bench.migrator.plan(&bench.cx).await?;
    assert_eq!((plan.head(), plan.target(), plan.pending.len()), (V3, V3, 0));
    assert_eq!(bench.migrator.revert(&bench.cx, V2).await?.done, [V3]);
    assert_eq!(bench.rows("pots").await?, None);
    Ok(())
}

async fn every_bad_file_is_named(bench: &Bench) -> Result<()> {
    bench.put(&FILES);
    bench.put(&[("pots.sql", POTS), ("4_empty.sql", ""), ("5_cut.sql", "DELETE FROM plants"), ("7_gap.sql", POTS)]);
    bench.put(&[("3_twice.sql", POTS), ("8_alone.down.sql", POTS)]);
    let report = bench.plan_fails(ErrorKind::InvalidInput).await;
    let bad = ["`pots.sql`", "`4_empty.sql`", "`5_cut.sql`", "`7_gap.sql`", "`3_twice.sql`", "`8_alone.down.sql`"];
    names(&report, &bad);
    fails(ErrorKind::InvalidInput, bench.migrator.migrate(&bench.cx, V1).await);
    bad.iter().for_each(|file| bench.world.remove_file(file.trim_matches('`')));
    assert_eq!(bench.migrator.migrate(&bench.cx, V3).await?.from, V0, "nothing was done before");
    Ok(())
}

async fn a_version_below_the_head_is_refused(bench: &Bench) -> Result<()> {
    bench.put(&[("20260101_first.sql", PLANTS), ("20260301_last.sql", POTS)]);
    bench.migrator.migrate(&bench.cx, MigrationVersion(20_260_301)).await?;
    bench.put(&[("20260201_late.sql", SEEDS)]);
    names(&bench.plan_fails(ErrorKind::InvalidInput).await, &["20260201_late.sql", "20260301"]);
    assert_eq!(bench.rows("plants").await?, Some(0));
    Ok(())
}

async fn an_edited_file_is_named(bench: &Bench) -> Result<()> {
    bench.at(V1).await?;
    bench.put(&[("1_plants.up.sql", POTS)]);
    names(&bench.plan_fails(ErrorKind::Conflict).await, &["1_plants.up.sql"]);
    fails(ErrorKind::Conflict, bench.migrator.migrate(&bench.cx, V3).await);
    fails(ErrorKind::Unsupported, bench.migrator.revert(&bench.cx, V0).await);
    bench.put(&FILES);
    assert_eq!(bench.applied().await?, [1]);
    Ok(())
}

async fn a_dirty_database_is_named(bench: &Bench) -> Result<()> {
    bench.at(V1).await?;
    bench.world.make_dirty(V1).await?;
    let report = bench.plan_fails(ErrorKind::MigrationDirty).await;
    names(&report, &["version 1"]);
    fails(ErrorKind::MigrationDirty, bench.migrator.migrate(&bench.cx, V3).await);
    fails(ErrorKind::MigrationDirty, bench.migrator.revert(&bench.cx, V0).await);
    Ok(())
}

async fn of_two_at_once_each_migration_is_applied_once(bench: &Bench) -> Result<()> {
    bench.put(&FILES);
    let other = bench.world.another();
    let (one, two) =
        futures_util::future::join(bench.migrator.migrate(&bench.cx, V3), other.migrate(&bench.cx, V3)).await;
    let mut done = one?.done;
    done.extend(two?.done);
    assert_eq!(done, [V1, V2, V3]);
    assert_eq!(bench.rows("plants").await?, Some(2));
    Ok(())
}

async fn a_backup_is_taken_once_for_a_key(bench: &Bench) -> Result<()> {
    bench.at(V2).await?;
    let first = bench.migrator.backup(&bench.cx, "run 1/back up", BackupLevel::Exists).await?;
    assert_eq!((first.key.as_str(), first.head, first.level), ("run 1/back up", V2, BackupLevel::Exists));
    assert!(first.size > 0);
    bench.world.execute("DELETE FROM plants;").await?;
    let again = bench.migrator.backup(&bench.cx, "run 1/back up", BackupLevel::Checked).await?;
    assert_eq!((again.digest, again.level, &again.location), (first.digest, BackupLevel::Checked, &first.location));
    let other = bench.migrator.backup(&bench.cx, "run 1-back up", BackupLevel::Restored).await?;
    assert_ne!(other.location, first.location);
    assert_ne!(other.digest, first.digest);
    Ok(())
}

async fn a_new_database_can_be_backed_up(bench: &Bench) -> Result<()> {
    bench.put(&FILES);
    let backup = bench.migrator.backup(&bench.cx, "new", BackupLevel::Checked).await?;
    assert_eq!(backup.head, V0);
    assert_eq!(bench.migrator.plan(&bench.cx).await?.pending.len(), 3);
    bench.migrator.migrate(&bench.cx, V3).await?;
    bench.migrator.restore(&bench.cx, &backup).await?;
    assert_eq!((bench.applied().await?, bench.rows("plants").await?), (vec![], None));
    Ok(())
}

async fn a_restore_brings_back_what_was_there(bench: &Bench) -> Result<()> {
    bench.at(V2).await?;
    let backup = bench.migrator.backup(&bench.cx, "before", BackupLevel::Checked).await?;
    bench.migrator.migrate(&bench.cx, V3).await?;
    bench.world.execute("INSERT INTO plants (id, height) VALUES (3, 30);").await?;
    let kept = bench.migrator.restore(&bench.cx, &backup).await?;
    assert_eq!((bench.applied().await?, bench.rows("plants").await?), (vec![1, 2], Some(2)));
    assert_eq!(bench.migrator.restore(&bench.cx, &backup).await?, kept, "restored twice");
    assert_eq!(bench.migrator.migrate(&bench.cx, V3).await?.done, [V3]);
    Ok(())
}

async fn a_backup_that_is_not_there_is_named(bench: &Bench) -> Result<()> {
    bench.at(V2).await?;
    let mut backup = bench.migrator.backup(&bench.cx, "here", BackupLevel::Exists).await?;
    backup.location.push_str("-gone");
    "gone".clone_into(&mut backup.key);
    let error = fails(ErrorKind::NotFound, bench.migrator.restore(&bench.cx, &backup).await);
    names(&error.report(), &["-gone"]);
    assert_eq!(bench.rows("plants").await?, Some(2));
    Ok(())
}

async fn data_is_measured(bench: &Bench) -> Result<()> {
    let checks =
        [rows("plants"), sum("plants", "height"), sum("plants", "width"), DataCheck::ForeignKeys, DataCheck::Structure];
    let before = bench.migrator.measure(&bench.cx, &checks).await?;
    assert_eq!((value(&before, &checks[0]), value(&before, &checks[1])), (None, None));
    bench.at(V2).await?;
    bench.world.execute("UPDATE plants SET height = 15 WHERE id = 1;").await?;
    let after = bench.migrator.measure(&bench.cx, &checks).await?;
    let found: Vec<_> = checks.iter().map(|check| value(&after, check)).collect();
    assert_eq!(found, [Some(2), Some(35), None, Some(0), Some(0)]);
    Ok(())
}

async fn strange_names_measure_nothing(bench: &Bench) -> Result<()> {
    bench.at(V2).await?;
    for name in ["", "Plants\"; DROP TABLE plants; --", "plants'", "a\"b", "😀"] {
        assert_eq!(bench.rows(name).await?, None, "{name}");
        let check = sum("plants", name);
        let measured = bench.migrator.measure(&bench.cx, std::slice::from_ref(&check)).await?;
        assert_eq!(value(&measured, &check), None, "{name}");
    }
    assert_eq!(bench.rows("plants").await?, Some(2));
    Ok(())
}

async fn a_cancelled_call_does_nothing(bench: &Bench) -> Result<()> {
    bench.at(V2).await?;
    let backup = bench.migrator.backup(&bench.cx, "before", BackupLevel::Exists).await?;
    bench.world.execute("DELETE FROM plants WHERE id = 1;").await?;
    let token = CancellationToken::new();
    token.cancel();
    let cx = bench.cx.clone().with_cancellation(token);
    fails(ErrorKind::Cancelled, bench.migrator.plan(&cx).await);
    fails(ErrorKind::Cancelled, bench.migrator.migrate(&cx, V3).await);
    fails(ErrorKind::Cancelled, bench.migrator.revert(&cx, V2).await);
    fails(ErrorKind::Cancelled, bench.migrator.backup(&cx, "other", BackupLevel::Exists).await);
    fails(ErrorKind::Cancelled, bench.migrator.restore(&cx, &backup).await);
    fails(ErrorKind::Cancelled, bench.migrator.measure(&cx, &[rows("plants")]).await);
    assert_eq!((bench.applied().await?, bench.rows("plants").await?), (vec![1, 2], Some(1)));
    Ok(())
}

async fn an_older_epoch_changes_nothing(bench: &Bench) -> Result<()> {
    if !bench.migrator.fences() {
        left_out("migrator");
        return Ok(());
    }
    let Deployers { older, epoch, newer, outside, elsewhere } = Deployers::new(&bench.cx);
    let (ours, other) = (&bench.migrator, bench.world.another());
    bench.put(&FILES);
    ours.migrate(&epoch, V1).await?;
    for target in [V1, V3] {
        refused(other.migrate(&older, target).await, &older, &epoch);
    }
    for target in [V0, V1] {
        refused(other.revert(&older, target).await, &older, &epoch);
    }
    assert_eq!((bench.applied().await?, bench.rows("plants").await?), (vec![1], Some(0)));

    other.migrate(&outside, V3).await?;
    refused(ours.revert(&older, V2).await, &older, &epoch);
    ours.migrate(&newer, V3).await?;
    refused(other.revert(&epoch, V2).await, &epoch, &newer);
    other.revert(&newer, V2).await?;
    refused(other.migrate(&epoch, V3).await, &epoch, &newer);
    ours.migrate(&elsewhere, V3).await?;
    assert_eq!(bench.applied().await?, [1, 2, 3]);
    Ok(())
}

async fn a_restore_brings_no_older_epoch_back(bench: &Bench) -> Result<()> {
    if !bench.migrator.fences() {
        left_out("migrator");
        return Ok(());
    }
    let Deployers { older, epoch, newer, outside, .. } = Deployers::new(&bench.cx);
    let (ours, other) = (&bench.migrator, bench.world.another());
    bench.put(&FILES);
    ours.migrate(&older, V1).await?;
    let backup = ours.backup(&older, "before", BackupLevel::Checked).await?;
    ours.migrate(&epoch, V2).await?;
    refused(other.restore(&older, &backup).await, &older, &epoch);
    assert_eq!((bench.applied().await?, bench.rows("plants").await?), (vec![1, 2], Some(2)));

    let kept = ours.restore(&outside, &backup).await?;
    refused(other.migrate(&older, V2).await, &older, &epoch);
    assert_eq!(other.restore(&newer, &backup).await?, kept, "nothing was written since, but for the epoch");
    assert_eq!(ours.restore(&newer, &backup).await?, kept);
    refused(other.migrate(&epoch, V2).await, &epoch, &newer);
    ours.migrate(&newer, V2).await?;
    ours.restore(&newer, &backup).await?;
    refused(other.migrate(&epoch, V2).await, &epoch, &newer);
    assert_eq!((bench.applied().await?, bench.rows("plants").await?), (vec![1], Some(0)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::fake::migrator::FakeMigrator, vocabulary::Name};

    #[derive(Debug)]
    struct Fake(Arc<FakeMigrator>);

    #[async_trait]
    impl MigratorWorld for Fake {
        fn put_file(&self, file: &str, sql: &str) {
            self.0.put_file(file, sql);
        }

        fn remove_file(&self, file: &str) {
            self.0.remove_file(file);
        }

        async fn execute(&self, sql: &str) -> Result<()> {
            self.0.execute(sql)
        }

        async fn make_dirty(&self, version: MigrationVersion) -> Result<()> {
            self.0.make_dirty(version);
            Ok(())
        }

        fn another(&self) -> Arc<dyn Migrator> {
            self.0.clone()
        }
    }

    #[tokio::test]
    async fn the_fake_conforms() {
        suite(async || {
            let fake = Arc::new(FakeMigrator::new(Name::new("app").unwrap()));
            Fixture::new(fake.clone(), Arc::new(Fake(fake)), ())
        })
        .await;
    }
}
