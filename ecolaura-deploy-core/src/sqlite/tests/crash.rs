//! A deployer that is killed while it migrates.

use std::process::{Child, Command, Stdio};

use super::*;

const DATABASE: &str = "ECOLAURA_TEST_KILLED_DATABASE";

/// Ended with the test, however that ends.
struct Deployer(Child);

impl Drop for Deployer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// This test program, running only [`deployer`] in `world`.
fn start(world: &World) -> Deployer {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "sqlite::tests::crash::deployer", "--ignored", "--nocapture"]);
    command.env(DATABASE, world.dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
    Deployer(command.spawn().unwrap())
}

#[tokio::test]
#[ignore = "needs a folder of another test, which starts and kills it"]
async fn deployer() {
    let Some(dir) = std::env::var_os(DATABASE).map(PathBuf::from) else { return };
    let ours = SqliteMigrator::new(dir.join("app.sqlite"), dir.join("migrations"), "app".parse().unwrap());
    ours.migrate(&cx(), version(3)).await.unwrap();
}

async fn killed_in_the_third(third: &str) -> World {
    let world = World::with(PLANTS);
    world.put_file("3_endless.sql", third);
    let deployer = start(&world);
    let ours = world.migrator();
    let third_began = async || {
        let head = async || ours.plan(&cx()).await.map_or_else(|_| version(3), |plan| plan.head());
        world.database().exists() && head().await >= version(2)
    };
    while !third_began().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    refused(
        ErrorKind::Conflict,
        world.impatient().migrate(&cx(), version(2)).await,
        &["another process", &deployer.0.id().to_string()],
    );
    drop(deployer);
    world
}

const ENDLESS: &str = "INSERT INTO plants WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n) SELECT i, i FROM n LIMIT 4000000000;";

#[tokio::test]
async fn a_kill_leaves_whole_migrations_and_no_lock() {
    let world = killed_in_the_third(ENDLESS).await;
    let ours = world.migrator();
    assert_eq!(ours.plan(&cx()).await.unwrap().head(), version(2));
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 2);
    world.put_file("3_endless.sql", "SELECT 1;");
    assert_eq!(ours.migrate(&cx(), version(3)).await.unwrap().done, [version(3)]);
}

#[tokio::test]
async fn a_kill_outside_of_a_transaction_leaves_it_dirty() {
    let world = killed_in_the_third(&format!("-- no-transaction\nSELECT 1;\n{ENDLESS}")).await;
    let ours = world.migrator();
    // The kill may also have come before the third one began.
    if world.number("SELECT COUNT(*) FROM _sqlx_migrations").await == 3 {
        refused(ErrorKind::MigrationDirty, ours.plan(&cx()).await, &["version 3"]);
        ours.resolve_dirty(&cx(), version(3), Resolution::NotApplied, "the insert was rolled back").await.unwrap();
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 2);
    assert_eq!(ours.plan(&cx()).await.unwrap().pending.len(), 1);
}
