//! Migrates a SQLite database: backup before, data measured before and after, undone if the data is not what it was.
//! Run it twice: the second time nothing is done. With `down`, the newest migration is reverted.
//!
//! `cargo run --example migrate_database [down]`

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Error, Result,
    backend::{AllowedChange, BackupLevel, DataCheck, Migrator},
    pipeline::{Pipeline, constant},
    sqlite::SqliteMigrator,
    steps::{BackupDatabase, MeasureData, Migrate, VerifyData},
    store::ObjectRunStore,
    vocabulary::MigrationVersion,
};
use ecolaura_deploy_examples::{exit_code, place::block_on, plan_and_run, runner, scratch};

const MIGRATIONS: &[(&str, &str)] = &[
    ("1_plants.up.sql", "CREATE TABLE plants (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"),
    ("1_plants.down.sql", "DROP TABLE plants;"),
    ("2_height.up.sql", "ALTER TABLE plants ADD COLUMN height INTEGER;"),
    ("2_height.down.sql", "ALTER TABLE plants DROP COLUMN height;"),
];

fn main() -> ExitCode {
    block_on("migrate_database", example())
}

async fn example() -> Result<ExitCode> {
    let dir = scratch("migrate_database");
    let cx = Context::new("dev".parse()?);
    let migrations = dir.join("migrations");
    write(&migrations)?;
    let database = SqliteMigrator::new(dir.join("app.sqlite"), migrations, "app".parse()?).backups(dir.join("backups"));
    let database: Arc<dyn Migrator> = Arc::new(database);

    if std::env::args().nth(1).as_deref() == Some("down") {
        let applied = database.plan(&cx).await?.applied;
        let target = applied.iter().rev().nth(1).copied().unwrap_or(MigrationVersion(0));
        let report = database.revert(&cx, target).await?;
        #[expect(clippy::print_stdout, reason = "an example shows what it got")]
        {
            println!("schema {} → {}", report.from, report.to);
        }
        return Ok(ExitCode::SUCCESS);
    }

    let rows = DataCheck::RowCount { table: "plants".to_owned(), allowed: AllowedChange::None };
    let checks = vec![rows, DataCheck::ForeignKeys, DataCheck::Structure];
    let mut pipeline = Pipeline::new("database".parse()?, "dev".parse()?);
    let backup = BackupDatabase::new(Arc::clone(&database), BackupLevel::Checked);
    let safeguard = pipeline.add("back up", backup, constant(()));
    let before = pipeline.add("measure", MeasureData::new(Arc::clone(&database), checks.clone()), constant(()));
    let migrated = pipeline.step("migrate", Migrate::new(Arc::clone(&database)), safeguard).after(&before).add();
    pipeline.add("verify data", VerifyData::new(database, checks), (before, migrated));

    let runner = runner(Arc::new(ObjectRunStore::local(dir.join("records"))?));
    let finished = plan_and_run(&cx, &runner, pipeline).await?;
    Ok(exit_code(&finished.result))
}

fn write(folder: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io("example.write", folder, error))?;
    MIGRATIONS.iter().try_for_each(|(file, sql)| {
        let path = folder.join(file);
        std::fs::write(&path, sql).map_err(|error| Error::io("example.write", path, error))
    })
}
