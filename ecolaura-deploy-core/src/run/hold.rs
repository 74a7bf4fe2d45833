//! Taking an environment and giving it back: for runs, and for whoever else works on what environments have.

use std::sync::Arc;

use super::runner::{OnWait, Runner};
use crate::{
    Context, Result,
    context::Emit,
    event::EventKind,
    lock::{self, Epoch},
    pipeline::Landing,
    store::EnvironmentState,
    vocabulary::EnvironmentName,
};

impl Runner {
    pub(crate) async fn acquire(
        &self,
        cx: &Context,
        environment: &EnvironmentName,
        run: &str,
        landing: Landing,
    ) -> Result<Epoch> {
        let request = lock::Request {
            store: &self.store,
            clock: &self.clock,
            nonces: &self.nonces,
            environment,
            run,
            holder: &self.holder,
            machine: &self.machine,
            landing,
            policy: self.lock,
        };
        let said = Arc::new(Said(self.on_wait.clone()));
        Box::pin(lock::acquire(&self.context(cx).with_emit(said), request)).await
    }

    /// What cannot be released is taken over by the next deployer, who sees that this one is gone.
    pub(crate) async fn release(&self, epoch: Epoch, state: EnvironmentState) {
        let environment = epoch.environment().clone();
        if let Err(error) = epoch.release(state).await {
            (self.on_wait.0)(&format!("the lock of {environment} is not released: {}", error.report()));
        }
    }
}

/// Hands what is said about waiting to a listener.
struct Said(OnWait);

impl Emit for Said {
    fn emit(&self, _step: Option<&str>, kind: EventKind) {
        if let EventKind::Status { message } | EventKind::Warning { message } = kind {
            (self.0.0)(&message);
        }
    }
}
