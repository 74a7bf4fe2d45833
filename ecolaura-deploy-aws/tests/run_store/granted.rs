//! What the store says that it needs is what it calls: no less, and no more.

use ecolaura_deploy_aws::{S3RunStore, Scope, access::Policy};
use ecolaura_deploy_core::store::RunStore as _;

use super::{
    calls::Calls,
    servers::{REGION, account, bucket, cx, real_endpoints},
};

#[tokio::test]
async fn every_call_is_granted_and_no_grant_is_unused() {
    for endpoint in real_endpoints() {
        let account = account(&endpoint).await;
        let bucket = bucket(&account).await;
        let calls = Calls::record();
        let store = S3RunStore::open(&cx(), &account, &bucket, "team/runs").await.unwrap();
        store.create("a/1", "one".into()).await.unwrap();
        store.list_after("a", "a/0").await.unwrap();
        store.names("a").await.unwrap();

        let policy = Policy::of(S3RunStore::keeping(&Scope::new(REGION, "111122223333"), &bucket, "team/runs"));
        assert_eq!(calls.count("s3:PutObject"), 4, "three of the check, and ours");
        let calls = calls.all();
        let refused: Vec<_> = calls.iter().filter(|(action, resource)| !policy.allows(action, resource)).collect();
        assert!(refused.is_empty(), "called and not granted: {refused:?}");
        assert!(policy.unused(&calls).is_empty(), "granted and not called: {:?}", policy.unused(&calls));
        policy.document().unwrap();
    }
}
