//! What roll-outs that did not end, and agents that were killed, left behind.

mod candidate;

use std::{collections::BTreeSet, path::Path, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use self::candidate::IDLE;
use super::{
    state::{Folder, Service, State},
    supervise::{end_leftover, still_runs},
    target::ProcessCluster,
};
use crate::{
    Context, Result,
    backend::{Inspect, Leftover},
    leftovers::{self, GRACE, Listing, Purpose, Remnant, Sort, entries, is_older},
    vocabulary::{Digest, Name, ServiceName},
};

/// For how long people may want to read what a service printed that is gone.
const LOGS: Duration = Duration::from_hours(24);

const ORPHAN: Sort = Sort {
    kind: "orphan process",
    found: "whoever ran the cluster was killed, and what guards its processes too; this one runs on",
};
const POD: Sort = Sort { kind: "folder of an ended pod", found: "whoever ran the cluster was killed" };
const IMAGE: Sort = Sort { kind: "unpacked image", found: "no revision that is kept needs it, or it is not whole" };
const LOG: Sort = Sort { kind: "logs of a removed service", found: "no revision of the service is kept" };
const HALF: Sort =
    Sort { kind: "half written file", found: "it was to replace a file of the cluster when the process ended" };

impl ProcessCluster {
    fn listing(
        &self,
        cx: &Context,
        operation: &'static str,
    ) -> Result<impl FnOnce(Purpose) -> Result<Listing> + Send + use<>> {
        let (now, folder) = (leftovers::begin(cx, operation)?, self.folder.clone());
        Ok(move |purpose| folder.leftovers(operation, (purpose, now)))
    }
}

impl Folder {
    /// Files and processes of a cluster that nobody runs. Whoever runs it sweeps by itself.
    fn leftovers(&self, operation: &'static str, (purpose, now): (Purpose, Timestamp)) -> Result<Listing> {
        let mut listing = Listing::default();
        if !listing.alone(operation, &self.file("lock"), purpose)? {
            return Ok(listing);
        }
        if purpose == Purpose::Look {
            // A program that opens the folder meanwhile would be refused.
            listing.locks.clear();
        }
        let state = self.read()?;
        self.pods_left(&mut listing, operation)?;
        self.files_left(&mut listing, operation, now)?;
        self.logs_left(&mut listing, operation, (&state, now))?;
        if listing.alone(operation, &self.file("images.lock"), purpose)? {
            self.images_left(&mut listing, operation, &state)?;
        }
        if purpose == Purpose::Look && self.file("lock").exists() && self.holder()?.is_some() {
            // Somebody runs it by now, and what was seen may be theirs.
            listing.remnants.clear();
        }
        Ok(listing)
    }

    fn pods_left(&self, listing: &mut Listing, operation: &'static str) -> Result<()> {
        for (_, path, seen) in entries(operation, &self.file("pods"))? {
            let Some(pid) = still_runs(&path.join("pid")) else {
                listing.remnants.push(Remnant::new(path, &seen, POD));
                continue;
            };
            let mut remnant = Remnant::new(path, &seen, ORPHAN);
            remnant.leftover.object = format!("{pid}, in {}", remnant.path.display());
            "end the process and remove its folder".clone_into(&mut remnant.leftover.action);
            listing.remnants.push(remnant);
        }
        Ok(())
    }

    fn files_left(&self, listing: &mut Listing, operation: &'static str, now: Timestamp) -> Result<()> {
        for (name, path, seen) in entries(operation, self.path())? {
            if seen.is_file() && name.ends_with(".partial") && is_older(now, &seen, GRACE) {
                listing.remnants.push(Remnant::new(path, &seen, HALF));
            }
        }
        Ok(())
    }

    fn logs_left(
        &self,
        listing: &mut Listing,
        operation: &'static str,
        (state, now): (&State, Timestamp),
    ) -> Result<()> {
        let known = |namespace: &str, service: &str| {
            let names = namespace.parse::<Name>().ok().zip(service.parse::<ServiceName>().ok());
            // What cannot be a service's is not ours to judge.
            names.is_none_or(|(namespace, service)| {
                state.namespaces.get(&namespace).is_some_and(|record| record.services.contains_key(&service))
            })
        };
        for (namespace, folder, seen) in entries(operation, &self.file("logs"))? {
            let services = if seen.is_dir() { entries(operation, &folder)? } else { Vec::new() };
            for (service, path, seen) in services {
                if seen.is_dir() && !known(&namespace, &service) && is_older(now, &seen, LOGS) {
                    listing.remnants.push(Remnant::new(path, &seen, LOG));
                }
            }
        }
        Ok(())
    }

    fn images_left(&self, listing: &mut Listing, operation: &'static str, state: &State) -> Result<()> {
        let services = state.namespaces.values().flat_map(|namespace| namespace.services.values());
        let wanted: BTreeSet<String> = services.flat_map(Service::images).map(Digest::to_hex).collect();
        for (name, path, seen) in entries(operation, &self.file("images"))? {
            if seen.is_dir() && !wanted.contains(&name) {
                listing.remnants.push(Remnant::new(path, &seen, IMAGE));
            }
        }
        Ok(())
    }
}

/// Ends the process of a pod's folder if it still is that process, and removes what was left.
fn remove(operation: &'static str, path: &Path) -> Result<()> {
    end_leftover(&path.join("pid"));
    leftovers::remove(operation, path)
}

#[async_trait]
impl Inspect for ProcessCluster {
    fn name(&self) -> &Name {
        &self.name
    }

    /// Candidates without requests are listed whoever runs the cluster. Whether a run still needs one cannot be seen
    /// from here.
    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        const OPERATION: &str = "cluster.inspect";
        let mut left = self.idle_candidates(OPERATION).await?;
        left.extend(leftovers::look(OPERATION, self.listing(cx, OPERATION)?).await?);
        Ok(left)
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        const OPERATION: &str = "cluster.clean";
        if leftover.kind == IDLE {
            return self.discard_idle(cx, OPERATION, leftover).await;
        }
        let listing = self.listing(cx, OPERATION)?;
        leftovers::clean_by(OPERATION, leftover, listing, |path| remove(OPERATION, path)).await
    }
}
