//! Every call that a test makes, as it says itself.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use ecolaura_deploy_aws::CALLS;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

/// Remembers the calls of this thread, action and resource, as long as its guard is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<(String, String)>>>);

impl Calls {
    pub(crate) fn record() -> (Self, DefaultGuard) {
        let calls = Self::default();
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(calls.clone()));
        (calls, guard)
    }

    pub(crate) fn all(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, action: &str) -> usize {
        self.all().iter().filter(|(called, _)| called == action).count()
    }
}

impl<S: Subscriber> Layer<S> for Calls {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == CALLS {
            let mut call = Call::default();
            event.record(&mut call);
            self.0.lock().unwrap().push((call.action, call.resource));
        }
    }
}

#[derive(Default)]
struct Call {
    action: String,
    resource: String,
}

impl Visit for Call {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "action" => value.clone_into(&mut self.action),
            "resource" => value.clone_into(&mut self.resource),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
