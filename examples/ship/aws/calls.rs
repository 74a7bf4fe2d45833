//! Every call of AWS in a file, as it says itself: what a policy must allow, and whether it allows too much.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use ecolaura_deploy_aws::Called;
use ecolaura_deploy_core::{Error, Result};
use tracing::{Event, Subscriber};
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
        if let Some(Called { action, resource, .. }) = Called::read(event) {
            let line = format!("{action} {resource}\n");
            // A disk that is full must not end a release.
            _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        }
    }
}
