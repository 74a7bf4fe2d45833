//! What publishes that did not end left behind.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{publisher::DirectoryCdn, store::Store};
use crate::{
    Context, Result,
    backend::{Inspect, Leftover},
    leftovers::{self, Listing, Purpose, Remnant, Sort, entries, is_older},
    vocabulary::Name,
};

const STAGED: Sort = Sort { kind: "staged file", found: "it was being sent when the process ended, and is not whole" };
const HALF: Sort = Sort {
    kind: "half release",
    found: "it was written down and never switched to, or forgotten and not quite removed",
};
const HALF_FILE: Sort =
    Sort { kind: "half written file", found: "it was to replace a file of the site when the process ended" };
const UNNAMED: Sort = Sort { kind: "unnamed object", found: "no kept release names it" };

impl DirectoryCdn {
    fn listing(
        &self,
        cx: &Context,
        operation: &'static str,
    ) -> Result<impl FnOnce(Purpose) -> Result<Listing> + Send + use<>> {
        let now = leftovers::begin(cx, operation)?;
        let (store, grace) = (self.store.clone(), self.grace);
        Ok(move |purpose| store.leftovers(operation, (purpose, now, grace)))
    }
}

impl Store {
    /// While somebody sends, nothing that is sent is listed; while somebody switches, nothing of releases is. An object
    /// that was sent lately may be about to be switched to.
    fn leftovers(
        &self,
        operation: &'static str,
        (purpose, now, grace): (Purpose, Timestamp, Duration),
    ) -> Result<Listing> {
        let mut listing = Listing::default();
        if !self.path("incoming").exists() {
            return Ok(listing);
        }
        let quiet = listing.alone(operation, &self.path("incoming.lock"), purpose)?;
        if quiet {
            for (_, path, seen) in entries(operation, &self.path("incoming"))? {
                listing.remnants.push(Remnant::new(path, &seen, STAGED));
            }
        }
        if listing.alone(operation, &self.path("lock"), purpose)? {
            self.releases_left(&mut listing, operation)?;
            if quiet {
                self.objects_left(&mut listing, operation, (now, grace))?;
            }
        }
        Ok(listing)
    }

    fn releases_left(&self, listing: &mut Listing, operation: &'static str) -> Result<()> {
        let kept = self.pointer(operation)?.releases;
        for (name, path, seen) in entries(operation, &self.path("releases"))? {
            let release = name.strip_suffix(".json").and_then(|hex| format!("sha256:{hex}").parse().ok());
            if release.is_some_and(|release| !kept.contains(&release)) {
                listing.remnants.push(Remnant::new(path, &seen, HALF));
            }
        }
        for folder in [self.path("releases"), self.path("")] {
            for (name, path, seen) in entries(operation, &folder)? {
                if seen.is_file() && name.ends_with(".partial") {
                    listing.remnants.push(Remnant::new(path, &seen, HALF_FILE));
                }
            }
        }
        Ok(())
    }

    fn objects_left(
        &self,
        listing: &mut Listing,
        operation: &'static str,
        (now, grace): (Timestamp, Duration),
    ) -> Result<()> {
        let mut named = BTreeSet::new();
        for release in self.pointer(operation)?.releases {
            let manifest = self.read_manifest(operation, release)?;
            named.extend(manifest.0.values().map(|object| object.digest.to_hex()));
        }
        for (_, folder, seen) in entries(operation, &self.path("objects"))? {
            if !seen.is_dir() {
                continue;
            }
            for (hex, path, seen) in entries(operation, &folder)? {
                if seen.is_file() && !named.contains(&hex) && is_older(now, &seen, grace) {
                    listing.remnants.push(Remnant::new(path, &seen, UNNAMED));
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Inspect for DirectoryCdn {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        const OPERATION: &str = "cdn.inspect";
        leftovers::look(OPERATION, self.listing(cx, OPERATION)?).await
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        const OPERATION: &str = "cdn.clean";
        leftovers::clean(OPERATION, leftover, self.listing(cx, OPERATION)?).await
    }
}
