//! What every [`SecretStore`] does.

use std::sync::Arc;

use crate::{
    Context, ErrorKind, SecretRef,
    backend::SecretStore,
    testing::conformance::small::{expect_kind, expect_ok, test_context},
};

const SECRET: &str = "database-password";
const VALUE: &str = "hunter2-hunter2";

/// Runs every case. `make` gives a fresh store that holds the secret `database-password`, whose value is
/// `hunter2-hunter2`, and none called `no-such-secret`.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn SecretStore>>,
{
    let cx = &test_context();
    gives_the_value_behind_a_reference(cx, make().await).await;
    a_reference_stays_the_same_and_reveals_nothing(cx, make().await).await;
    refuses_a_version_that_is_gone(cx, make().await).await;
    refuses_what_is_not_there(cx, make().await).await;
}

async fn gives_the_value_behind_a_reference(cx: &Context, store: Arc<dyn SecretStore>) {
    let case = "secrets: gives the value behind a reference";
    let reference = expect_ok(case, store.resolve(cx, SECRET).await);
    assert_eq!((&reference.store, reference.name.as_str()), (store.name(), SECRET), "{case}");
    let value = expect_ok(case, store.get(cx, &reference).await);
    assert!(value.expose() == VALUE, "{case}: another value");
}

async fn a_reference_stays_the_same_and_reveals_nothing(cx: &Context, store: Arc<dyn SecretStore>) {
    let case = "secrets: a reference stays the same and reveals nothing";
    let first = expect_ok(case, store.resolve(cx, SECRET).await);
    let again = expect_ok(case, store.resolve(cx, SECRET).await);
    assert_eq!(first, again, "{case}");
    assert!(!first.version.is_empty(), "{case}: no version");
    let digest = crate::vocabulary::Digest::of(VALUE).to_hex();
    let shown = format!("{first} {store:?}");
    assert!(!shown.contains(VALUE) && !shown.contains(&digest[..12]), "{case}: {shown}");
}

async fn refuses_a_version_that_is_gone(cx: &Context, store: Arc<dyn SecretStore>) {
    let case = "secrets: refuses a version that is gone";
    let reference = SecretRef::new(store.name().clone(), SECRET, "no-such-version");
    let error = expect_kind(case, store.get(cx, &reference).await, ErrorKind::Conflict);
    assert!(!error.report().contains(VALUE), "{case}: the error shows the value");
}

async fn refuses_what_is_not_there(cx: &Context, store: Arc<dyn SecretStore>) {
    let case = "secrets: refuses what is not there";
    expect_kind(case, store.resolve(cx, "no-such-secret").await, ErrorKind::NotFound);
    let reference = SecretRef::new(store.name().clone(), "no-such-secret", "1");
    expect_kind(case, store.get(cx, &reference).await, ErrorKind::NotFound);
}
