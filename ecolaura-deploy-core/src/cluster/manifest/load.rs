//! From paths to objects.

use std::{
    collections::BTreeSet,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    notes::{Notes, Origin},
    tree::{self, Node},
};
use crate::{Error, Result, backend::Workload};

/// More than any object that an API server takes, many times over.
const LARGEST_FILE: u64 = 8 * 1024 * 1024;
const MOST_FILES: usize = 1000;
const OPERATION: &str = "cluster.read";

/// An object, not looked into yet.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) node: Node,
    pub(super) origin: Origin,
}

/// Every object of the files, `List`s taken apart, in the order of the paths. What is not YAML becomes a problem; a
/// path that cannot be read is an error.
pub(super) fn load(workload: &Workload, notes: &Notes) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for path in files(workload)? {
        let file = path.display().to_string();
        match tree::parse(&read(&path)?) {
            Ok(documents) => {
                for (index, node) in documents.into_iter().enumerate() {
                    take_apart(node, &file, index + 1, &mut objects);
                }
            }
            Err(tree::Malformed { line, message }) => {
                let line = line.map_or_else(String::new, |line| format!(", line {line}"));
                notes.problem(format!("{file}{line}: cannot be read as YAML: {message}"));
            }
        }
    }
    if objects.is_empty() && !notes.has_problems() {
        let paths: Vec<_> = workload.manifests.iter().map(|path| path.display().to_string()).collect();
        notes.problem(format!("no object in {}, expected at least a Deployment", paths.join(", ")));
    }
    Ok(objects)
}

/// The files at the paths; of a folder those that kubectl takes, sorted, without its sub-folders.
fn files(workload: &Workload) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for path in &workload.manifests {
        if path.is_dir() {
            for entry in path.read_dir().map_err(|error| Error::io(OPERATION, path, error))? {
                let found = entry.map_err(|error| Error::io(OPERATION, path, error))?.path();
                if is_manifest(&found) && found.is_file() {
                    files.insert(found);
                }
            }
        } else {
            files.insert(path.clone());
        }
        if files.len() > MOST_FILES {
            let message = format!("`{}`: more than {MOST_FILES} manifests", path.display());
            return Err(Error::new(crate::ErrorKind::LimitExceeded, OPERATION, message));
        }
    }
    Ok(files)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

fn read(path: &Path) -> Result<String> {
    let failed = |error| Error::io(OPERATION, path, error).advice("name files or folders of Kubernetes manifests");
    // To open a pipe, or to read a device, may take for ever.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::invalid(OPERATION, format!("`{}` is neither a file nor a folder", path.display()))
            .advice("name files or folders of Kubernetes manifests"));
    }
    let mut text = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut text)).map_err(failed)?;
    if text.len() as u64 > LARGEST_FILE {
        let message = format!("`{}` is larger than {LARGEST_FILE} bytes", path.display());
        return Err(Error::new(crate::ErrorKind::LimitExceeded, OPERATION, message));
    }
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid(OPERATION, format!("`{}`: byte {at} is not UTF-8", path.display()))
    })
}

fn take_apart(mut node: Node, file: &str, document: usize, objects: &mut Vec<Object>) {
    let kind = node.get("kind").and_then(Node::text).unwrap_or_default().to_owned();
    if kind.ends_with("List") && node.get("items").is_some() {
        for item in node.take_items() {
            take_apart(item, file, document, objects);
        }
        return;
    }
    let name = node.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text);
    let name = name.unwrap_or_default().to_owned();
    let origin = Origin { file: file.to_owned(), document, secret: kind == "Secret", kind, name };
    objects.push(Object { node, origin });
}
