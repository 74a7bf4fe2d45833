//! What the publisher says that it needs is what it calls: no less, and no more.

use std::fs;

use ecolaura_deploy_aws::access::Policy;
use ecolaura_deploy_core::{
    ErrorKind,
    backend::{CdnPublisher as _, Inspect as _, SiteObject, UploadRequest},
    cdn::{PublishOptions, publish, switch_back},
    vocabulary::{CacheControl, Digest},
};

use super::{
    calls::Calls,
    support::{cdn, cx, real_endpoints, site},
};

#[tokio::test]
async fn every_call_is_granted_and_no_grant_is_unused() {
    for endpoint in real_endpoints() {
        let (cdn, dir) = (cdn(&endpoint).await, tempfile::tempdir().unwrap());
        let calls = Calls::record();
        cdn.check(&cx()).await.unwrap();
        for number in 1..=2 {
            publish(&cx(), &cdn, &site(dir.path(), number).await, &PublishOptions::default()).await.unwrap();
        }
        switch_back(&cx(), &cdn, None).await.unwrap();
        cdn.prune(&cx(), 1).await.unwrap();
        cdn.leftovers(&cx()).await.unwrap();
        let path = dir.path().join("large");
        fs::write(&path, vec![0; 9 << 20]).unwrap();
        for cache in [CacheControl::Immutable, CacheControl::Revalidate] {
            let wrong =
                UploadRequest::new("large.wasm", &path, SiteObject::new(Digest::of("x"), 9 << 20, "x/y", cache));
            assert_eq!(cdn.upload(&cx(), &wrong).await.unwrap_err().kind(), ErrorKind::Corrupt);
        }
        assert_eq!(calls.count("s3:AbortMultipartUpload"), 2);

        let policy = Policy::of([cdn.publishing(), cdn.checking(), cdn.cleaning()].concat());
        let calls = calls.all();
        let refused: Vec<_> = calls.iter().filter(|(action, resource)| !policy.allows(action, resource)).collect();
        assert!(refused.is_empty(), "called and not granted: {refused:?}");
        assert!(policy.unused(&calls).is_empty(), "granted and not called: {:?}", policy.unused(&calls));
        policy.document().unwrap();
    }
}
