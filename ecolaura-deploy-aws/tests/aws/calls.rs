//! Every call that a test makes, as it says itself.

use std::{cell::RefCell, sync::Once};

use ecolaura_deploy_aws::Called;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

thread_local! {
    static CALLED: RefCell<Vec<(String, String)>> = const { RefCell::new(Vec::new()) };
}

/// Remembers the calls of this thread, action and resource. A test has a thread of its own.
#[derive(Debug)]
pub(crate) struct Calls;

impl Calls {
    /// From here on.
    pub(crate) fn record() -> Self {
        static INSTALLED: Once = Once::new();
        // One for all threads: what is said first on a thread without a subscriber would be taken for never wanted.
        INSTALLED.call_once(|| {
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Recorder)).unwrap();
            tracing::callsite::rebuild_interest_cache();
        });
        CALLED.take();
        Self
    }

    #[expect(clippy::unused_self, reason = "who has it has begun to record")]
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        CALLED.with_borrow(Clone::clone)
    }

    pub(crate) fn count(&self, action: &str) -> usize {
        self.all().iter().filter(|(called, _)| called == action).count()
    }
}

struct Recorder;

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some(Called { action, resource, .. }) = Called::read(event) {
            CALLED.with_borrow_mut(|called| called.push((action, resource)));
        }
    }
}
