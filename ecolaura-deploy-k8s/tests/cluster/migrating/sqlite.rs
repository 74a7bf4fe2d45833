//! A real database, in a folder of the node, migrated by Jobs whose program serves the migrator of SQLite.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Admitted, Context, Error, Result,
    backend::{BackupLevel, ImageMigrator as _, MigrationReport, Migrator},
    migration,
    pipeline::{Pipeline, constant},
    run::{RunResult, Runner},
    sqlite::SqliteMigrator,
    steps::{self, BackupDatabaseOf, MigrateOf},
    store::ObjectRunStore,
    testing::conformance::migrator::{Fixture, MigratorWorld, suite_at_once},
    vocabulary::{MigrationVersion, Name, PinnedImage},
};
use ecolaura_deploy_k8s::{
    Connection,
    job::{JobMigrator, MigrationTool},
};
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, api::ListParams};
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::{failing, pipeline};
use crate::support::{Scratch, Servers, cx, image_of_this, name, runtime, servers};

/// The folder of the migrations in the pods.
const MIGRATIONS: &str = "MIGRATIONS";

/// What the image's program does.
const MAIN: &str = "migrating::sqlite::main";

#[test]
#[ignore = "it is started in a pod, with a question"]
fn main() {
    let migrations = std::env::var(MIGRATIONS).unwrap_or_else(|_| "/app/migrations".to_owned());
    let migrator =
        SqliteMigrator::new("/data/app.sqlite", migrations, name("app")).busy_timeout(Duration::from_mins(1));
    if let Some(code) = runtime().block_on(migration::serve(&migrator)) {
        assert_eq!(code, ExitCode::SUCCESS);
    }
}

/// The namespace of the Jobs, and what they run.
#[derive(Debug)]
struct Place {
    servers: Servers,
    namespace: Scratch,
    connection: Connection,
}

impl Place {
    async fn new(servers: Servers) -> Self {
        Self { namespace: servers.namespace().await, connection: servers.connection().await, servers }
    }

    async fn jobs(&self) -> usize {
        let api = Api::<Job>::namespaced(self.servers.client().await, self.namespace.name.as_str());
        api.list(&ListParams::default()).await.unwrap().items.len()
    }
}

/// A database and its migrations in a folder that the pods share.
#[derive(Debug)]
struct World {
    dir: TempDir,
    migrator: JobMigrator,
}

impl World {
    /// Where the migrations stand beside the database, or else in the image.
    fn new(place: &Place, database: Name, image: Option<&PinnedImage>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("migrations")).unwrap();
        let mut container = json!({"name": "app", "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
        if let Some(image) = image {
            container["image"] = json!(format!("{}/{image}", place.servers.registry));
            container["env"] = json!([{"name": MIGRATIONS, "value": "/data/migrations"}]);
        }
        let pod = json!({
            "terminationGracePeriodSeconds": 0, "containers": [container],
            "volumes": [{"name": "data", "hostPath": {"path": dir.path(), "type": "Directory"}}],
        });
        let (connection, namespace) = (place.connection.clone(), place.namespace.name.clone());
        let migrator = JobMigrator::new(database, connection, namespace, pod, MigrationTool::Answering(Vec::new()))
            .registry(place.servers.registry.clone())
            .fencing();
        Self { dir, migrator }
    }

    fn file(&self, file: &str) -> PathBuf {
        self.dir.path().join("migrations").join(file)
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.dir.path().join("app.sqlite"));
        options.busy_timeout(Duration::from_mins(1)).connect().await.unwrap()
    }

    async fn numbers(&self, sql: &str) -> Vec<i64> {
        let mut connection = self.connect().await;
        let numbers = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        numbers
    }
}

#[async_trait]
impl MigratorWorld for World {
    fn put_file(&self, file: &str, sql: &str) {
        std::fs::write(self.file(file), sql).unwrap();
    }

    fn remove_file(&self, file: &str) {
        std::fs::remove_file(self.file(file)).unwrap();
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        let mut connection = self.connect().await;
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await;
        connection.close().await.unwrap();
        done.map(drop).map_err(|error| Error::invalid("test.execute", "refused").with_source(error))
    }

    async fn make_dirty(&self, version: MigrationVersion) -> Result<()> {
        self.execute(&format!("UPDATE _sqlx_migrations SET success = FALSE WHERE version = {version}")).await
    }

    fn another(&self) -> Arc<dyn Migrator> {
        Arc::new(self.migrator.clone())
    }
}

/// All of it holds: each call of the suite is a Job, each case has a database of its own.
#[test]
fn a_database_that_jobs_migrate_conforms() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let place = Place::new(servers).await;
        let image = image_of_this(&place.servers, MAIN, None).await;
        let (place, image, cases) = (&place, &image, &AtomicUsize::new(0));
        let began = std::time::Instant::now();
        suite_at_once(NonZeroUsize::new(4).unwrap(), || async move {
            let number = cases.fetch_add(1, Ordering::Relaxed);
            let world = Arc::new(World::new(place, name(&format!("app-{number}")), Some(image)));
            Fixture::new(Arc::new(world.migrator.clone()), world.clone(), world)
        })
        .await;
        println!("{} cases took {:?}", cases.load(Ordering::Relaxed), began.elapsed());
        assert_eq!(place.jobs().await, 0, "every Job is gone once its answer is known");
    });
}

const PLANTS: &str = "CREATE TABLE plants (id INTEGER PRIMARY KEY, height INTEGER NOT NULL);";
const SEEDS: &str = "INSERT INTO plants (height) VALUES (10), (20);";
const POT: &str = "ALTER TABLE plants ADD COLUMN pot INTEGER;\nUPDATE plants SET pot = id * 100;";

/// The image of a release with these migrations.
async fn release(servers: &Servers, files: &[(&str, &str)]) -> PinnedImage {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(file, sql)| std::fs::write(dir.path().join(file), sql).unwrap());
    image_of_this(servers, MAIN, Some(dir.path())).await
}

async fn run(pipeline: Pipeline) -> RunResult {
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx(), pipeline).await.unwrap();
    runner.run(&cx(), plan).await.unwrap().result
}

#[test]
fn a_release_that_fails_after_its_migration_leaves_the_schema_of_before_and_the_data_of_now() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let place = Place::new(servers).await;
        let before = [("1_plants.up.sql", PLANTS), ("1_plants.down.sql", "DROP TABLE plants;"), ("2_seeds.sql", SEEDS)];
        let pots = [("3_pots.up.sql", POT), ("3_pots.down.sql", "ALTER TABLE plants DROP COLUMN pot;")];
        let first = release(&place.servers, &before).await;
        let second = release(&place.servers, &[&before[..], &pots].concat()).await;
        let world = Arc::new(World::new(&place, name("shop"), None));
        let source = Arc::new(world.migrator.clone());
        let release = |image: &PinnedImage| {
            let mut pipeline = pipeline();
            let image = || constant(Admitted::by_gate("scan", image.clone()));
            let backup = BackupDatabaseOf::new(source.clone(), BackupLevel::Restored);
            let backup = pipeline.add("back up", backup, image());
            let migrated = pipeline.add("migrate", MigrateOf::new(source.clone()), (backup, image()));
            (pipeline, migrated)
        };
        assert_eq!(run(release(&first).0).await, RunResult::Succeeded);
        assert_eq!(world.numbers("SELECT height FROM plants").await, [10, 20]);

        let (mut failing_one, migrated) = release(&second);
        let served = steps::call("serve", {
            let world = Arc::clone(&world);
            move |_: Context, report: MigrationReport| {
                let world = Arc::clone(&world);
                async move {
                    assert_eq!(report.done, [MigrationVersion(3)]);
                    assert_eq!(world.numbers("SELECT pot FROM plants").await, [100, 200]);
                    world.execute("INSERT INTO plants (height, pot) VALUES (30, 300);").await
                }
            }
        });
        let served = failing_one.add("serve", served, migrated);
        failing_one.step("fail", failing(), constant(())).after(&served).add();
        let result = run(failing_one).await;
        assert!(matches!(&result, RunResult::RolledBack { failed, .. } if failed == "fail"), "{result:?}");
        assert_eq!(world.numbers("SELECT height FROM plants").await, [10, 20, 30], "nothing was restored");
        let columns = world.numbers("SELECT COUNT(*) FROM pragma_table_info('plants')").await;
        assert_eq!(columns, [2], "the migration was reverted by the image that brought it");
        let earlier = source.of(&first);
        assert!(earlier.plan(&cx()).await.unwrap().pending.is_empty());

        // A person who wants the data of before as well has the backup of the second run.
        let backups = std::fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(backups.filter(|name| Path::new(name).extension().is_some_and(|end| end == "backup")).count(), 2);
        assert_eq!(place.jobs().await, 0);
    });
}

/// Takes two seconds or more.
const SLOW: &str = "INSERT INTO plants (height) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 3000000;";

#[test]
fn who_goes_on_with_the_run_of_a_deployer_that_is_gone_waits_for_its_migration() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let place = Place::new(servers).await;
        let image = image_of_this(&place.servers, MAIN, None).await;
        let world = Arc::new(World::new(&place, name("shop"), Some(&image)));
        world.put_file("1_plants.sql", PLANTS);
        world.put_file("2_many.sql", SLOW);
        let goes_on = steps::call("migrate", {
            let world = Arc::clone(&world);
            move |cx: Context, (): ()| {
                let world = Arc::clone(&world);
                async move {
                    let to = MigrationVersion(2);
                    let (gone, next) = (cx.clone().with_epoch(1), cx.with_epoch(2));
                    let first = async {
                        while !world.dir.path().join("app.sqlite").exists() {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    };
                    tokio::select! {
                        _ = world.migrator.migrate(&gone, to) => {}
                        () = first => {}
                    }
                    let report = world.migrator.migrate(&next, to).await?;
                    assert_eq!((report.from, report.to, report.done.len()), (to, to, 0), "it was done before");
                    Ok(())
                }
            }
        });
        let mut pipeline = pipeline();
        pipeline.add("migrate", goes_on, constant(()));
        assert_eq!(run(pipeline).await, RunResult::Succeeded);
        assert_eq!(world.numbers("SELECT COUNT(*) FROM plants").await, [3_000_000]);
    });
}
