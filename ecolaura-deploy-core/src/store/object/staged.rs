//! Files that a killed process left half written. `object_store` writes a record to `NAME#N` first, and hides such
//! names from listings.

use std::{fs, io, path::Path, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use super::ObjectRunStore;
use crate::{
    Context, Error, Result,
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
                listing.remnants.sort_by(|one, other| one.path.cmp(&other.path));
            }
            Ok(listing)
        }
    }
}

/// Of ten thousand runs the names are enough; only what is staged is asked for more.
fn walk(operation: &'static str, folder: &Path, now: Timestamp, grace: Duration, listing: &mut Listing) -> Result<()> {
    let failed = |error| Error::io(operation, folder, error);
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?,
    };
    for entry in listed {
        // What somebody removed meanwhile is not there; what is not UTF-8 is not ours.
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
        if kind.is_dir() {
            walk(operation, &entry.path(), now, grace, listing)?;
        } else if kind.is_file()
            && is_staged(&name)
            && let Ok(seen) = entry.metadata()
            && leftovers::is_older(now, &seen, grace)
        {
            listing.remnants.push(Remnant::new(entry.path(), &seen, STAGED));
        }
    }
    Ok(())
}

/// Whether `name` is `KEY#NUMBER`. No key holds a `#`.
pub(super) fn is_staged(name: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        leftovers::tests::{Worker, clean_all, cx, dir_of_worker, found, later},
        store::RunStore as _,
    };

    /// Does nothing unless it was started by the test below.
    #[tokio::test]
    async fn worker() {
        let Some(dir) = dir_of_worker() else { return };
        let store = ObjectRunStore::local(dir).unwrap();
        for number in 0_u64.. {
            store.create(&format!("a/b/{number}"), vec![b'x'; 100_000].into()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_killed_write_is_found_after_an_hour_and_records_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = ObjectRunStore::local(dir.path()).unwrap();
        let mut tries = 0..50;
        // A kill seldom comes between two writes.
        while found(&store, &later(2)).await.is_empty() {
            tries.next().expect("a kill in a write");
            let mut worker = Worker::start("store::object::staged::tests::worker", dir.path());
            let before = store.list("a").await.unwrap().len();
            let end = std::cell::Cell::new(0);
            worker.until(|| {
                end.set(leftovers::entries("test", &dir.path().join("a/b")).unwrap().len());
                end.get() > before + 20
            });
            worker.kill();
        }
        let records = store.list("a").await.unwrap();
        let staged = found(&store, &later(2)).await;
        assert!(staged.iter().all(|(kind, name)| kind == "staged record" && name.contains('#')), "{staged:?}");
        assert_eq!(found(&store, &cx()).await, [], "it may be being written");
        assert_eq!(found(&ObjectRunStore::memory(), &later(2)).await, []);
        let young = store.leftovers(&later(2)).await.unwrap();
        store.clean(&cx(), &young[0]).await.unwrap();
        assert_eq!(found(&store, &later(2)).await, staged, "nothing young is removed");
        clean_all(&store, &later(2)).await;
        assert_eq!(store.list("a").await.unwrap(), records);
        assert!(store.get(&records[0]).await.unwrap().is_some());
    }
}
