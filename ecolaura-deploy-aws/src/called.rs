//! Calls as they say themselves.

use std::fmt;

use tracing::{
    Event,
    field::{Field, Visit},
};

/// The target of `tracing` at which each call says its `action` and `resource`.
pub const CALLS: &str = "ecolaura_deploy_aws::call";

/// Says that a call needs `action` on `resource` too, which IAM asks for beside its own.
#[cfg(any(feature = "appconfig", feature = "rds", feature = "security-groups"))]
pub(crate) fn implied(action: &'static str, resource: &str) {
    tracing::debug!(target: CALLS, action, resource, "implied");
}

/// A call, as a policy names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Called {
    /// `s3:PutObject`
    pub action: String,
    /// Its ARN; `*` where a policy can name none.
    pub resource: String,
}

impl Called {
    /// What `event` says; `None` if it is not one at [`CALLS`]. For subscribers that keep all calls.
    pub fn read(event: &Event<'_>) -> Option<Self> {
        if event.metadata().target() != CALLS {
            return None;
        }
        let mut called = Self::default();
        event.record(&mut Reader(&mut called));
        Some(called)
    }
}

struct Reader<'a>(&'a mut Called);

impl Visit for Reader<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "action" => value.clone_into(&mut self.0.action),
            "resource" => value.clone_into(&mut self.0.resource),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
