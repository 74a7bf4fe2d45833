//! Listing records in files. `object_store` asks the system about every file; names are all that is needed here, and an
//! environment may have ten thousand releases.

use std::{fs, io, path::Path};

use super::staged::is_staged;
use crate::{Error, Result};

/// What lies right below a folder: names, and whether they are folders. None if there is no such folder. Files that are
/// being written do not count.
fn entries(folder: &Path) -> Result<Vec<(String, bool)>> {
    let failed = |error| Error::io("store.list", folder, error);
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut entries = Vec::new();
    for entry in found {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = match entry.file_type().map_err(failed)? {
            // A link counts as what it leads to; one that leads nowhere is nothing.
            link if link.is_symlink() => fs::metadata(entry.path()).map_or(link, |found| found.file_type()),
            kind => kind,
        };
        if kind.is_dir() || (kind.is_file() && !is_staged(&name)) {
            entries.push((name, kind.is_dir()));
        }
    }
    Ok(entries)
}

/// The names right below the key `prefix`, sorted.
pub(super) fn names(root: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut names: Vec<String> = entries(&root.join(prefix))?.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    Ok(names)
}

/// The keys below `prefix` that come after `after`, sorted.
pub(super) fn keys(root: &Path, prefix: &str, after: &str) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    collect(root, prefix, after, &mut keys)?;
    keys.sort_unstable();
    Ok(keys)
}

fn collect(root: &Path, prefix: &str, after: &str, keys: &mut Vec<String>) -> Result<()> {
    for (name, is_folder) in entries(&root.join(prefix))? {
        let key = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if !is_folder {
            keys.extend((key.as_str() > after).then_some(key));
        } else if format!("{key}/~").as_str() > after {
            // Every key of the folder comes before `/~`, so there may be some after `after`.
            collect(root, &key, after, keys)?;
        }
    }
    Ok(())
}
