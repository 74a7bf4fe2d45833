//! What killed writers left in a layout.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::Layout;
use crate::{
    Result,
    leftovers::{Listing, Purpose, Remnant, Sort, entries, is_older},
    vocabulary::Digest,
};

const STAGED: Sort = Sort {
    kind: "staged blob",
    found: "it was being written when the process ended, and is not whole; nothing names it",
};
const UNNAMED: Sort = Sort { kind: "unnamed blob", found: "no manifest of the index names it" };
const HALF: Sort =
    Sort { kind: "half written file", found: "it was to replace a file of the layout when the process ended" };

impl Layout {
    /// Adds what is in nobody's use to `listing`. While somebody writes, that is nothing: a blob that no manifest names
    /// yet may be about to be named.
    pub(crate) fn leftovers(
        &self,
        listing: &mut Listing,
        operation: &'static str,
        (purpose, now, grace): (Purpose, Timestamp, Duration),
    ) -> Result<()> {
        if !self.dir.join("oci-layout").exists() {
            return Ok(());
        }
        if !listing.alone(operation, &self.dir.join("lock"), purpose)? {
            return Ok(());
        }
        for (_, path, seen) in entries(operation, &self.incoming())? {
            listing.remnants.push(Remnant::new(path, &seen, STAGED));
        }
        self.unnamed(listing, operation, (now, grace))?;
        if !listing.alone(operation, &self.dir.join("index.lock"), purpose)? {
            return Ok(());
        }
        for (name, path, seen) in entries(operation, &self.dir)? {
            // The first file of a layout is written before there is a lock.
            if seen.is_file() && name.ends_with(".partial") && is_older(now, &seen, grace) {
                listing.remnants.push(Remnant::new(path, &seen, HALF));
            }
        }
        Ok(())
    }

    /// Blobs that another tool, which knows nothing of our lock, has not just brought.
    fn unnamed(
        &self,
        listing: &mut Listing,
        operation: &'static str,
        (now, grace): (Timestamp, Duration),
    ) -> Result<()> {
        let mut named = BTreeSet::new();
        for entry in &self.index(operation)?.manifests {
            // What an unreadable manifest names is not known, so anything may be.
            if self.name_all(operation, entry, &mut named).is_err() {
                return Ok(());
            }
        }
        for (hex, path, seen) in entries(operation, &self.dir.join("blobs").join("sha256"))? {
            let digest = format!("sha256:{hex}").parse::<Digest>().ok();
            let unnamed = digest.is_some_and(|digest| !named.contains(&digest));
            if unnamed && seen.is_file() && is_older(now, &seen, grace) {
                listing.remnants.push(Remnant::new(path, &seen, UNNAMED));
            }
        }
        Ok(())
    }
}
