//! What databases say that they need is what they call, instances and clusters.

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_core::step::{Planned, Step as _};

use super::world::*;
use crate::{
    access::Grant,
    fake::cx,
    granted,
    rds::{fake::FakeRds, *},
};

/// There and back again, by a snapshot and by a time.
async fn everything(database: &RdsDatabase, retention: &RdsRetention) {
    let snapshot = database.snapshot(&cx(), "key").await.unwrap();
    let restore = RestoreDatabase::new(database);
    let restored = restore.apply(&cx(), snapshot.into()).await.unwrap().output;
    let verify = VerifyDatabase::new(database, Arc::new(Answering(true)));
    let admitted = verify.apply(&cx(), restored).await.unwrap().output;
    let switch = SwitchDatabase::new(database, accepted());
    let undo = switch.prepare(&cx(), &admitted).await.unwrap().unwrap();
    switch.plan(&cx(), Planned::Known(admitted.clone())).await.unwrap();
    switch.apply(&cx(), admitted).await.unwrap();
    switch.undoer().unwrap().undo(&cx(), undo).await.unwrap();
    restore.apply(&cx(), RestorePoint::Latest).await.unwrap();
    database.snapshot(&cx(), "another").await.unwrap();
    assert_eq!(retention.apply(&cx()).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_call_is_granted_and_no_grant_is_unused() {
    let world = World::new(FakeRds::new().instance("shop").cluster("garden", &["garden-1"]));
    let account = world.fake().account(1);
    let scope = account.scope(&cx()).await.unwrap();
    for database in [RdsDatabase::instance(&account, "shop"), RdsDatabase::cluster(&account, "garden")] {
        let retention = RdsRetention::new("rds".parse().unwrap(), &database).keep(1).grace(Duration::ZERO);
        let calls = granted::record();
        everything(&database, &retention).await;
        let grants: Vec<Grant> = [
            database.snapshotting(&scope),
            RestoreDatabase::new(&database).grants(&scope),
            vec![VerifyDatabase::new(&database, Arc::new(Answering(true))).grant(&scope)],
            SwitchDatabase::new(&database, accepted()).grants(&scope),
            retention.grants(&scope),
        ]
        .concat();
        granted::exactly(&calls, grants);
    }
}
