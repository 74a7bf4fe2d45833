//! What services say that they need is what they call: no less, and no more. Of those that moto does not play, by their
//! fakes here.

use crate::{
    access::{Grant, Policy},
    calls::Calls,
};

/// Begins to listen.
pub(crate) fn record() -> Calls {
    Calls::record()
}

/// That `grants` allow what was called since, and nothing more. Who we are nobody has to be allowed to ask.
pub(crate) fn exactly(calls: &Calls, grants: impl IntoIterator<Item = Grant>) {
    let policy = Policy::of(grants);
    let calls: Vec<_> = calls.all().into_iter().filter(|(action, _)| action != "sts:GetCallerIdentity").collect();
    assert!(!calls.is_empty());
    let refused: Vec<_> = calls.iter().filter(|(action, resource)| !policy.allows(action, resource)).collect();
    assert!(refused.is_empty(), "called and not granted: {refused:?}");
    assert!(policy.unused(&calls).is_empty(), "granted and not called: {:?}", policy.unused(&calls));
    policy.document().unwrap();
}
