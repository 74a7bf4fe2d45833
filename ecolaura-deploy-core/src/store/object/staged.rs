//! Files that a killed process left half written. `object_store` writes a record to `NAME#N` first, and hides such
//! names from listings.

use std::{path::Path, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use super::ObjectRunStore;
use crate::{
    Context, Result,
    backend::{Inspect, Leftover},
    leftovers::{self, Listing, Purpose, Remnant, Sort},
    vocabulary::Name,
};

const STAGED: Sort =
    Sort { kind: "staged record", found: "a record was being written when the process ended; it counts nowhere" };

#[expect(clippy::expect_used, reason = "a constant that follows the grammar of names")]
static NAME: LazyLock<Name> = LazyLock::new(|| Name::new("run-store").expect("a name"));

impl ObjectRunStore {
    fn staged(
        &self,
        now: Timestamp,
        operation: &'static str,
    ) -> impl FnOnce(Purpose) -> Result<Listing> + Send + use<> {
        let (dir, grace) = (self.dir.clone(), self.grace);
        move |_| {
            let mut listing = Listing::default();
            if let Some(dir) = dir {
                walk(operation, &dir, now, grace, &mut listing)?;
            }
            Ok(listing)
        }
    }
}

fn walk(operation: &'static str, folder: &Path, now: Timestamp, grace: Duration, listing: &mut Listing) -> Result<()> {
    for (name, path, seen) in leftovers::entries(operation, folder)? {
        if seen.is_dir() {
            walk(operation, &path, now, grace, listing)?;
        } else if seen.is_file() && is_staged(&name) && leftovers::is_older(now, &seen, grace) {
            listing.remnants.push(Remnant::new(path, &seen, STAGED));
        }
    }
    Ok(())
}

/// Whether `name` is `KEY#NUMBER`. No key holds a `#`.
fn is_staged(name: &str) -> bool {
    let number = name.split_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[async_trait]
impl Inspect for ObjectRunStore {
    fn name(&self) -> &Name {
        &NAME
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        const OPERATION: &str = "store.inspect";
        let now = leftovers::begin(cx, OPERATION)?;
        leftovers::look(OPERATION, self.staged(now, OPERATION)).await
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        const OPERATION: &str = "store.clean";
        let now = leftovers::begin(cx, OPERATION)?;
        leftovers::clean(OPERATION, leftover, self.staged(now, OPERATION)).await
    }
}
