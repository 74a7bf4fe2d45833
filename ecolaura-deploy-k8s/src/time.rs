//! The present, as Kubernetes' types have it.

use ecolaura_deploy_core::Context;
use k8s_openapi::jiff::Timestamp;

/// The present by the clock of `cx`. Two versions of one library have the time here and there.
pub(crate) fn now(cx: &Context) -> Timestamp {
    Timestamp::from_nanosecond(cx.clock().now().as_nanosecond()).unwrap_or(Timestamp::MAX)
}
