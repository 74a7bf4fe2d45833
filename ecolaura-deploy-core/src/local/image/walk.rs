//! What lies at the sources of a layer.

use std::{
    collections::{BTreeMap, btree_map},
    fs::{self, Metadata},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{check::image_path, problems::Problems};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{ImageEntry, ImageSpec},
};

/// What stands at one path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    File { source: PathBuf, mode: u32, size: u64, modified: Option<SystemTime> },
    Link { target: String },
}

/// Nodes by their path in the image, without the leading `/`. A folder is before what it holds.
pub(super) type Nodes = BTreeMap<String, Node>;

/// The nodes of each layer of `spec`; what cannot be taken is noted. Blocks.
pub(super) fn walk(
    cx: &Context,
    operation: &'static str,
    spec: &ImageSpec,
    problems: &mut Problems,
) -> Result<Vec<Nodes>> {
    let layers = spec.layers.iter().enumerate().map(|(index, entries)| {
        let mut walk = Walk { cx, operation, layer: index + 1, problems: &mut *problems, nodes: Nodes::new() };
        for entry in entries {
            walk.entry(entry)?;
        }
        walk.refuse_files_as_folders();
        Ok(walk.nodes)
    });
    layers.collect()
}

struct Walk<'a> {
    cx: &'a Context,
    operation: &'static str,
    layer: usize,
    problems: &'a mut Problems,
    nodes: Nodes,
}

impl Walk<'_> {
    fn invalid(&mut self, text: &str) {
        self.problems.invalid(format!("layer {}: {text}", self.layer));
    }

    fn unusable(&mut self, path: &Path, error: std::io::Error) {
        let error = Error::io(self.operation, path, error);
        self.problems.add(error.kind(), format!("layer {}: {}", self.layer, error.message()));
    }

    fn entry(&mut self, entry: &ImageEntry) -> Result<()> {
        let ImageEntry { source, destination, mode } = entry;
        if mode.is_some_and(|mode| mode > 0o7777) {
            self.invalid(&format!("`{destination}` has the mode {:o}, expected at most 7777", mode.unwrap_or(0)));
        }
        let path = image_path(destination);
        if let Err(why) = &path {
            self.invalid(&format!("destination `{}`: {why}", destination.escape_debug()));
        }
        match (fs::metadata(source), path) {
            (Err(error), _) => self.unusable(source, error),
            (Ok(_), Err(_)) => {}
            (Ok(found), Ok(path)) if found.is_dir() => return self.folder(source, path, *mode),
            (Ok(_), Ok(path)) if path.is_empty() || destination.ends_with('/') => {
                let name = source.file_name().unwrap_or_default().to_string_lossy();
                let better = format!("{}/{name}", destination.trim_end_matches('/'));
                self.invalid(&format!("destination `{destination}` of a file is a folder; expected `{better}`"));
            }
            (Ok(found), Ok(path)) => self.file(source, path, &found, *mode),
        }
        Ok(())
    }

    fn folder(&mut self, source: &Path, path: String, mode: Option<u32>) -> Result<()> {
        let mut left = vec![(source.to_owned(), path)];
        while let Some((folder, path)) = left.pop() {
            self.cx.check(self.operation)?;
            let listed = fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            if !path.is_empty() {
                self.insert(path.clone(), Node::Folder);
            }
            match listed {
                Err(error) => self.unusable(&folder, error),
                Ok(entries) => entries.iter().for_each(|entry| left.extend(self.child(entry, &path, mode))),
            }
        }
        Ok(())
    }

    /// Takes what a folder holds; answers with a folder that is to be walked.
    fn child(&mut self, entry: &fs::DirEntry, parent: &str, mode: Option<u32>) -> Option<(PathBuf, String)> {
        let source = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.chars().any(char::is_control)) else {
            self.invalid(&format!("`{}`: the name is not plain UTF-8; rename it", source.display()));
            return None;
        };
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        match entry.metadata() {
            Err(error) => self.unusable(&source, error),
            Ok(found) if found.is_dir() => return Some((source, path)),
            Ok(found) if found.is_symlink() => match fs::read_link(&source) {
                Err(error) => self.unusable(&source, error),
                Ok(target) => match target.to_str() {
                    Some(target) => self.insert(path, Node::Link { target: target.to_owned() }),
                    None => self.invalid(&format!("`{}` links to a name that is not UTF-8", source.display())),
                },
            },
            Ok(found) => self.file(&source, path, &found, mode),
        }
        None
    }

    fn file(&mut self, source: &Path, path: String, found: &Metadata, mode: Option<u32>) {
        if !found.is_file() {
            return self.invalid(&format!("`{}` is neither a file, a folder nor a link", source.display()));
        }
        if let Err(error) = rustix::fs::access(source, rustix::fs::Access::READ_OK) {
            return self.unusable(source, error.into());
        }
        let mode = mode.unwrap_or_else(|| if is_executable(found) { 0o755 } else { 0o644 });
        let (size, modified) = (found.len(), found.modified().ok());
        self.insert(path, Node::File { source: source.to_owned(), mode, size, modified });
    }

    fn insert(&mut self, path: String, node: Node) {
        let name = path.rsplit('/').next().unwrap_or_default();
        if name.starts_with(".wh.") {
            return self.invalid(&format!("`/{path}` would remove a file of a layer below; rename it"));
        }
        match self.nodes.entry(path) {
            btree_map::Entry::Vacant(place) => _ = place.insert(node),
            btree_map::Entry::Occupied(place) if *place.get() == Node::Folder && node == Node::Folder => {}
            btree_map::Entry::Occupied(place) => {
                let text = format!("`/{}` is given twice: {} and {}", place.key(), place.get().shown(), node.shown());
                self.invalid(&text);
            }
        }
    }

    fn refuse_files_as_folders(&mut self) {
        let parents = self.nodes.keys().filter_map(|path| {
            let parent = ancestors(path).find(|parent| matches!(self.nodes.get(*parent), Some(Node::File { .. })))?;
            Some(format!("`/{parent}` is a file, so that it cannot hold `/{path}`"))
        });
        for text in parents.collect::<Vec<_>>() {
            self.invalid(&text);
        }
    }
}

impl Node {
    fn shown(&self) -> String {
        match self {
            Self::Folder => "a folder".to_owned(),
            Self::File { source, .. } => format!("the file `{}`", source.display()),
            Self::Link { target } => format!("a link to `{target}`"),
        }
    }
}

/// The folders above `path`, the outermost first.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

#[cfg(unix)]
fn is_executable(found: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_found: &Metadata) -> bool {
    false
}

/// A file that is not what it was when the build began.
pub(crate) fn changed(operation: &'static str, source: &Path) -> Error {
    let message = format!("`{}` changed while the image was built", source.display());
    Error::new(ErrorKind::Conflict, operation, message)
        .advice("let what writes it finish first, then build again; nothing was built")
}
