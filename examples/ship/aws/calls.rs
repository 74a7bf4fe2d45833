//! Every call of AWS in a file, as it says itself: what a policy must allow, and whether it allows too much.

use std::{
    fmt,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use ecolaura_deploy_aws::CALLS;
use ecolaura_deploy_core::{Error, Result};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

/// Adds every call from here on to the end of `file`: its action, a space, and its resource.
pub fn write_to(file: &Path) -> Result<()> {
    let failed = |error| Error::io("ship.calls", file, error);
    let opened = File::options().create(true).append(true).open(file).map_err(failed)?;
    let subscriber = tracing_subscriber::registry().with(Writer(Mutex::new(opened)));
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Error::internal("ship.calls", "somebody else listens").with_source(error))
}

struct Writer(Mutex<File>);

impl<S: Subscriber> Layer<S> for Writer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == CALLS {
            let mut call = Call::default();
            event.record(&mut call);
            let line = format!("{} {}\n", call.action, call.resource);
            // A disk that is full must not end a release.
            _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
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
