//! From paths to objects.

use std::{
    collections::BTreeSet,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    notes::{Field, Notes, Origin},
    tree::{self, Node},
};
use crate::{Error, Result, backend::LARGEST_MANIFEST};

const MOST_FILES: usize = 1000;
const OPERATION: &str = "cluster.read";

/// An object, not looked into yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Object {
    /// What stands in the file.
    pub node: Node,
    /// Where.
    pub origin: Origin,
}

impl Object {
    /// The object as a field, to look into and to complain about.
    pub fn field<'a>(&'a self, notes: &'a Notes) -> Field<'a> {
        Field::root(&self.node, &self.origin, notes)
    }
}

/// Every object of the files at `paths`, `List`s taken apart, in the order of the paths. Of a folder, its `.yaml`, `.yml`
/// and `.json` files are read, without sub-folders. What is not YAML becomes a problem of `notes`. Blocks while it reads.
///
/// Fails with the kind that the cause implies, naming the path, if one cannot be read, and with `LimitExceeded` for more
/// than 1000 files or one of more than 8 MiB.
///
/// ```
/// use ecolaura_deploy_core::manifest::{Notes, load};
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("web.yaml"), "kind: Service\nmetadata: {name: web}\n")?;
/// let notes = Notes::default();
/// let objects = load(&[folder.path().to_owned()], &notes)?;
/// assert_eq!(objects[0].field(&notes).text_of("metadata.name"), Some("web"));
/// assert!(notes.finish()?.is_empty());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn load(paths: &[PathBuf], notes: &Notes) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for path in files(paths)? {
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
    objects.iter().for_each(|object| refuse_hook(object, notes));
    if objects.is_empty() && !notes.has_problems() {
        let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        notes.problem(format!("no object in {}, expected at least one", paths.join(", ")));
    }
    Ok(objects)
}

/// Helm runs hooks at their moments, and never keeps them with the rest.
fn refuse_hook(object: &Object, notes: &Notes) {
    let annotations = object.node.get("metadata").and_then(|metadata| metadata.get("annotations"));
    if let Some(moment) = annotations.and_then(|annotations| annotations.get("helm.sh/hook")).and_then(Node::text) {
        object.field(notes).problem(format!(
            "is a hook (`{moment}`), which only Helm runs: render with `helm template --no-hooks`, and make it a step of the \
             pipeline"
        ));
    }
}

/// The files at the paths; of a folder those that kubectl takes, sorted, without its sub-folders.
fn files(paths: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for path in paths {
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
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST_MANIFEST + 1).read_to_end(&mut text))
        .map_err(failed)?;
    if text.len() as u64 > LARGEST_MANIFEST {
        let message = format!("`{}` is larger than {LARGEST_MANIFEST} bytes", path.display());
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
