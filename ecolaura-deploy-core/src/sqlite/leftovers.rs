//! What a killed backup or restore left beside a database.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::{lock::beside, migrator::SqliteMigrator};
use crate::{
    Context, Result,
    backend::{Inspect, Leftover},
    leftovers::{self, Listing, Purpose, Remnant, Sort, entries},
    vocabulary::Name,
};

const HALF_BACKUP: Sort =
    Sort { kind: "half made backup", found: "it was being copied or proven when the process ended; it is no backup" };
const UNNOTED: Sort = Sort {
    kind: "backup without note",
    found: "the process ended between the backup and its note; a backup without its note is none",
};
const HALF_NOTE: Sort = Sort { kind: "half written note", found: "it was being written when the process ended" };
const SCRATCH: Sort = Sort {
    kind: "scratch database",
    found: "a backup was being brought back when the process ended; the database was not replaced",
};
const SECOND_NAME: Sort = Sort {
    kind: "second name of the database",
    found: "it was to be replaced when the process ended, and was not; its content is the database's own",
};

/// What SQLite keeps beside a database that is open.
const COMPANIONS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// One database and where its backups are.
#[derive(Debug)]
struct Place {
    database: PathBuf,
    name: String,
    folder: PathBuf,
    backups: PathBuf,
}

impl SqliteMigrator {
    fn listing(
        &self,
        cx: &Context,
        operation: &'static str,
    ) -> Result<impl FnOnce(Purpose) -> Result<Listing> + Send + use<>> {
        cx.check(operation)?;
        let database = self.resolved();
        let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let place = Place {
            name: database.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            backups: self.backups.as_deref().unwrap_or(&folder).to_owned(),
            database,
            folder,
        };
        Ok(move |purpose| place.listing(operation, purpose))
    }
}

impl Place {
    /// Whoever backs up or restores holds the lock until it has ended.
    fn listing(&self, operation: &'static str, purpose: Purpose) -> Result<Listing> {
        let mut listing = Listing::default();
        if !listing.alone(operation, &beside(&self.database, ".lock"), purpose)? {
            // What lies in a folder of its own is in use as well.
            listing.busy.push(self.backups.clone());
            return Ok(listing);
        }
        for (name, path, seen) in entries(operation, &self.backups)? {
            if let Some(sort) = self.sort_backup(&name, &path).filter(|_| seen.is_file()) {
                listing.remnants.push(Remnant::new(path, &seen, sort));
            }
        }
        for (name, path, seen) in entries(operation, &self.folder)? {
            if let Some(sort) = self.sort_restore(&name, &path, &seen).filter(|_| seen.is_file()) {
                listing.remnants.push(Remnant::new(path, &seen, sort));
            }
        }
        Ok(listing)
    }

    /// What of a backup that did not end the file `name` is.
    fn sort_backup(&self, name: &str, path: &Path) -> Option<Sort> {
        let rest = name.strip_prefix(&self.name)?.strip_prefix('.')?;
        let (key, sort) = if let Some(key) = rest.strip_suffix(".backup") {
            (key, Some(UNNOTED).filter(|_| !beside(path, ".json").exists()))
        } else if let Some(key) = rest.strip_suffix(".backup.json.tmp") {
            (key, Some(HALF_NOTE))
        } else {
            let partial = |companion: &&str| rest.strip_suffix(*companion)?.strip_suffix(".backup.partial");
            (COMPANIONS.iter().rev().find_map(partial)?, Some(HALF_BACKUP))
        };
        sort.filter(|_| !self.is_of_another(key))
    }

    /// Whether a file of this key may be of a database whose name begins with ours: `app.sqlite` beside `app`.
    fn is_of_another(&self, key: &str) -> bool {
        let dots = key.match_indices('.').map(|(dot, _)| &key[..dot]);
        let mut others = dots.map(|rest| self.folder.join(format!("{}.{rest}", self.name)));
        others.any(|other| other.exists() || beside(&other, ".lock").exists())
    }

    /// What of a restore that did not end the file `name` is.
    fn sort_restore(&self, name: &str, path: &Path, seen: &fs::Metadata) -> Option<Sort> {
        let rest = name.strip_prefix(&self.name)?.strip_prefix('.')?;
        if rest == "restored.json.tmp" {
            return Some(HALF_NOTE);
        }
        let scratch = rest.strip_prefix("restoring").is_some_and(|rest| COMPANIONS.contains(&rest));
        if scratch {
            return Some(SCRATCH);
        }
        let replaced = rest.strip_prefix("replaced-").is_some_and(|rest| !rest.ends_with("-wal"));
        (replaced && self.is_second_name(path, seen)).then_some(SECOND_NAME)
    }

    /// Whether `path` is the database itself. With a log of its own it is not told apart from one that is needed.
    fn is_second_name(&self, path: &Path, seen: &fs::Metadata) -> bool {
        let same = fs::metadata(&self.database)
            .is_ok_and(|database| (database.dev(), database.ino()) == (seen.dev(), seen.ino()));
        same && COMPANIONS.iter().skip(1).all(|companion| !beside(path, companion).exists())
    }
}

#[async_trait]
impl Inspect for SqliteMigrator {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        const OPERATION: &str = "database.inspect";
        leftovers::look(OPERATION, self.listing(cx, OPERATION)?).await
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        const OPERATION: &str = "database.clean";
        leftovers::clean(OPERATION, leftover, self.listing(cx, OPERATION)?).await
    }
}
