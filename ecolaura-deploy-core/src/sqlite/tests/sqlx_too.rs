//! Our migrator and sqlx's on one database.

use sqlx::migrate::Migrator as Sqlx;

use super::*;

async fn sqlx_migrator(world: &World) -> Sqlx {
    Sqlx::new(world.path("migrations").as_path()).await.unwrap()
}

const POTS: &[(&str, &str)] = &[
    ("3_pots.up.sql", "CREATE TABLE pots (id INTEGER PRIMARY KEY);\nCREATE INDEX by_height ON plants (height);"),
    ("3_pots.down.sql", "DROP TABLE pots;\nDROP INDEX by_height;"),
];

#[tokio::test]
async fn sqlx_goes_on_where_we_stopped_and_we_where_it_did() {
    let world = World::with(PLANTS);
    let (cx, ours) = (cx(), world.migrator());
    ours.migrate(&cx, version(1)).await.unwrap();

    let mut connection = world.connect().await;
    sqlx_migrator(&world).await.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let plan = ours.plan(&cx).await.unwrap();
    assert_eq!((plan.head(), plan.pending.len()), (version(2), 0), "what sqlx applied is known");

    POTS.iter().for_each(|(file, sql)| world.put_file(file, sql));
    assert_eq!(ours.migrate(&cx, version(3)).await.unwrap().done, [version(3)]);
    let mut connection = world.connect().await;
    let theirs = sqlx_migrator(&world).await;
    theirs.run(&mut connection).await.expect("nothing is left to do for sqlx");
    theirs.undo(&mut connection, 2).await.expect("sqlx goes down from what we applied");
    connection.close().await.unwrap();

    assert_eq!(
        ours.revert(&cx, version(0)).await.unwrap().done,
        [version(2), version(1)],
        "and we from what it applied"
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM _sqlx_migrations").await, 0);
}

#[tokio::test]
async fn a_database_begun_by_sqlx_is_ours_too() {
    let world = World::with(PLANTS);
    std::fs::write(world.database(), "").unwrap();
    let mut connection = world.connect().await;
    sqlx_migrator(&world).await.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (cx, ours) = (cx(), world.migrator());
    assert!(ours.plan(&cx).await.unwrap().pending.is_empty());
    assert_eq!(ours.revert(&cx, version(1)).await.unwrap().done, [version(2)]);
    let mut connection = world.connect().await;
    sqlx_migrator(&world).await.run(&mut connection).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 2);
}

#[tokio::test]
async fn the_ledger_has_what_sqlx_writes() {
    let world = World::with(PLANTS);
    world.migrator().migrate(&cx(), version(2)).await.unwrap();
    let mut connection = world.connect().await;
    let rows: Vec<(i64, String, bool, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT version, description, success, checksum, execution_time FROM _sqlx_migrations ORDER BY version",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let theirs = sqlx_migrator(&world).await;
    let ups = theirs.iter().filter(|migration| migration.migration_type.is_up_migration());
    for (row, migration) in rows.iter().zip(ups) {
        let found = (row.0, row.1.as_str(), row.2, row.3.as_slice());
        assert_eq!(found, (migration.version, &*migration.description, true, &*migration.checksum));
        assert!(row.4 > 0, "it took some time");
    }
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn a_way_down_that_another_tool_made_stale_is_not_taken() {
    let world = World::with(PLANTS);
    let (cx, ours) = (cx(), world.migrator());
    ours.migrate(&cx, version(2)).await.unwrap();
    world.sql("UPDATE _sqlx_migrations SET installed_on = '2001-01-01 00:00:00' WHERE version = 2").await;
    world.put_file("2_seeds.down.sql", "DELETE FROM plants WHERE height = 10;");
    ours.revert(&cx, version(1)).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 1, "the file's way down, as sqlx applied it last");
}

#[tokio::test]
async fn both_tools_see_the_same_dirty_state_and_it_ends_by_our_word() {
    let world = World::with(&PLANTS[..2]);
    world.put_file(
        "2_half.sql",
        "-- no-transaction\nINSERT INTO plants (height) VALUES (1);\nINSERT INTO nowhere VALUES (1);",
    );
    let (cx, ours) = (cx(), world.migrator());
    let error = refused(ErrorKind::InvalidInput, ours.migrate(&cx, version(2)).await, &["2_half.sql", "resolve_dirty"]);
    assert_eq!(error.effect(), Effect::Partial);
    refused(ErrorKind::MigrationDirty, ours.plan(&cx).await, &["version 2", "resolve_dirty"]);
    let mut connection = world.connect().await;
    let theirs = sqlx_migrator(&world).await.run(&mut connection).await;
    assert!(matches!(theirs, Err(sqlx::migrate::MigrateError::Dirty(2))), "{theirs:?}");
    connection.close().await.unwrap();

    refused(
        ErrorKind::InvalidInput,
        ours.resolve_dirty(&cx, version(2), Resolution::NotApplied, " ").await,
        &["reason"],
    );
    refused(ErrorKind::NotFound, ours.resolve_dirty(&cx, version(7), Resolution::Applied, "?").await, &["7"]);
    refused(ErrorKind::Conflict, ours.resolve_dirty(&cx, version(1), Resolution::NotApplied, "?").await, &["1"]);
    world.sql("DELETE FROM plants").await;
    for _ in 0..2 {
        ours.resolve_dirty(&cx, version(2), Resolution::NotApplied, "row removed by hand").await.unwrap();
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM _ecolaura_resolutions WHERE reason LIKE 'row%'").await, 1);
    world.put_file("2_half.sql", "-- no-transaction\nINSERT INTO plants (height) VALUES (1);\nVACUUM;");
    assert_eq!(ours.migrate(&cx, version(2)).await.unwrap().done, [version(2)]);
}

#[tokio::test]
async fn a_single_statement_outside_of_a_transaction_leaves_no_dirt() {
    let world = World::with(&PLANTS[..2]);
    world.put_file("2_half.sql", "-- no-transaction\nINSERT INTO nowhere VALUES (1);");
    world.put_file("3_open.sql", "-- no-transaction\nBEGIN;\nINSERT INTO plants (height) VALUES (1);");
    let (cx, ours) = (cx(), world.migrator());
    let error = refused(ErrorKind::InvalidInput, ours.migrate(&cx, version(3)).await, &["2_half.sql"]);
    assert_eq!(error.effect(), Effect::Partial, "the first one was applied");
    assert_eq!(ours.plan(&cx).await.unwrap().head(), version(1));
    world.put_file("2_half.sql", "-- no-transaction\nPRAGMA user_version = 7;");
    refused(ErrorKind::InvalidInput, ours.migrate(&cx, version(3)).await, &["3_open.sql", "COMMIT"]);
    refused(ErrorKind::MigrationDirty, ours.plan(&cx).await, &["version 3"]);
    assert_eq!(world.number("PRAGMA user_version").await, 7);
}
