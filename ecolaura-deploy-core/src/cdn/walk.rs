//! What lies in a site's folder, and what of it is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirEntry, FileType},
    path::{Path, PathBuf},
};

use super::{key, rules::Rules};
use crate::{Context, Error, Result};

const OPERATION: &str = "cdn.read_site";

/// Files by key, and why others cannot be published.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: BTreeMap<String, PathBuf>,
    pub(super) problems: Vec<String>,
}

/// Lists `dir` and what is below it. Blocks.
pub(super) fn list(cx: &Context, dir: &Path, rules: &Rules, exposed: &BTreeSet<String>) -> Result<Listing> {
    let unusable = |error| {
        Error::io(OPERATION, dir, error).advice("build the site first, or name the folder that its build writes")
    };
    let root = fs::canonicalize(dir).map_err(unusable)?;
    let mut walk = Walk { rules, exposed, listing: Listing::default(), folders: Vec::new(), root };
    walk.folder(&walk.root.clone(), "").map_err(unusable)?;
    while let Some((path, prefix)) = walk.folders.pop() {
        cx.check(OPERATION)?;
        if let Err(error) = walk.folder(&path, &prefix) {
            walk.problem(prefix.trim_end_matches('/'), &error.to_string());
        }
    }
    Ok(walk.listing)
}

struct Walk<'a> {
    root: PathBuf,
    rules: &'a Rules,
    exposed: &'a BTreeSet<String>,
    listing: Listing,
    folders: Vec<(PathBuf, String)>,
}

impl Walk<'_> {
    fn problem(&mut self, key: &str, why: &str) {
        self.listing.problems.push(format!("`{}`: {why}", key.escape_debug()));
    }

    fn folder(&mut self, path: &Path, prefix: &str) -> std::io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            self.entry(&entry, kind, prefix);
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, kind: FileType, prefix: &str) {
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let shown = format!("{prefix}{}", name.to_string_lossy());
            return self.problem(&shown, "the name is not UTF-8; rename it");
        };
        let key = format!("{prefix}{name}");
        if self.rules.ignores(&key) {
            return;
        }
        if let Some(why) = key::refusal(&key) {
            return self.problem(&key, why);
        }
        if !is_exposed(&key, self.exposed) {
            return self.problem(&key, "hidden files are not published; ignore it, or expose it by name");
        }
        if kind.is_symlink() {
            self.link(key, &entry.path());
        } else if kind.is_dir() {
            self.folders.push((entry.path(), key + "/"));
        } else if kind.is_file() {
            self.listing.files.insert(key, entry.path());
        } else {
            self.problem(&key, "neither a file nor a folder");
        }
    }

    /// A link is followed once, here; later reads use what it led to.
    fn link(&mut self, key: String, path: &Path) {
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(error) => return self.problem(&key, &format!("the symbolic link leads nowhere: {error}")),
        };
        let Ok(inside) = target.strip_prefix(&self.root) else {
            let why = format!("the symbolic link leaves the folder, to `{}`; copy the file instead", target.display());
            return self.problem(&key, &why);
        };
        if !inside.to_str().is_some_and(|inside| is_exposed(inside, self.exposed)) {
            return self.problem(&key, "the symbolic link leads to a hidden file");
        }
        if !target.is_file() {
            return self.problem(&key, "the symbolic link leads to something else than a file");
        }
        self.listing.files.insert(key, target);
    }
}

/// Whether no part of `key` is hidden, or the hidden ones are exposed by name.
fn is_exposed(key: &str, exposed: &BTreeSet<String>) -> bool {
    let mut end = 0;
    for part in key.split('/') {
        end += part.len();
        if exposed.contains(&key[..end]) {
            return true;
        }
        if part.starts_with('.') {
            return false;
        }
        end += 1;
    }
    true
}
