//! All that a build reads, looked at before anything is done.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    DockerBuilder,
    check::check,
    context::{self, Entry, Node},
    ignore::Ignore,
};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::ImageSpec,
    cdn::digesting,
    files::{blocking, read_if_there},
    local::image::{Problems, is_lock_file},
    vocabulary::{Digest, Digester},
};

#[derive(Debug)]
pub(super) struct Inputs {
    /// The build file, as it stands there.
    pub(super) file: Bytes,
    pub(super) entries: Arc<[Entry]>,
    /// The digest of each entry: what it is, its mode and what is in it.
    pub(super) digests: Vec<Digest>,
    /// The lock files among them, by their paths.
    pub(super) locks: Vec<(String, Vec<u8>)>,
}

impl Inputs {
    /// Reads the build file, lists and measures the context, checks the fields. Fails with all that is wrong with them.
    pub(super) async fn of(
        cx: &Context,
        operation: &'static str,
        builder: &DockerBuilder,
        spec: &ImageSpec,
    ) -> Result<Self> {
        cx.check(operation)?;
        let mut problems = Problems::default();
        check(builder, spec, &mut problems);
        let Some(root) = spec.context_dir.clone() else {
            problems.refuse(operation)?;
            return Err(Error::internal(operation, "a context that is missing was not refused"));
        };
        let (context, file) = (cx.clone(), root.join(&builder.file));
        let look = move || {
            let bytes = problems.note(read_file(operation, &file))?.unwrap_or_default();
            let ignore = ignore(operation, &root, &file, &mut problems)?;
            let entries = context::list((&context, operation), &root, &ignore, &mut problems)?;
            let locks = locks(operation, &entries, &mut problems)?;
            Ok((bytes, entries, locks, problems))
        };
        let (file, entries, locks, mut problems) = blocking(operation, look).await?;
        let digests = measure(cx, operation, &entries, &mut problems).await?;
        problems.refuse(operation)?;
        Ok(Self { file: file.into(), entries: entries.into(), digests, locks })
    }

    /// What identifies the context.
    pub(super) fn digest(&self) -> Digest {
        let mut digester = Digester::new();
        for (entry, digest) in self.entries.iter().zip(&self.digests) {
            digester.field(&entry.path).field(digest.as_bytes());
        }
        digester.finish()
    }
}

fn read_file(operation: &'static str, path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).map_err(|error| Error::io(operation, path, error))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim().is_empty() => {
            Err(Error::invalid(operation, format!("`{}`: the build file is empty", path.display())))
        }
        Ok(_) => Ok(bytes),
        Err(_) => Err(Error::invalid(operation, format!("`{}`: the build file is not UTF-8", path.display()))),
    }
}

/// What is left out: by the file beside the build file, else by the one of the context.
fn ignore(operation: &'static str, root: &Path, file: &Path, problems: &mut Problems) -> Result<Ignore> {
    let mut own = file.as_os_str().to_owned();
    own.push(".dockerignore");
    for path in [PathBuf::from(own), root.join(".dockerignore")] {
        let Some(bytes) = problems.note(read_if_there(operation, &path))?.flatten() else { continue };
        let parsed = Ignore::parse(&String::from_utf8_lossy(&bytes));
        return Ok(parsed.unwrap_or_else(|lines| {
            lines.iter().for_each(|line| problems.invalid(format!("`{}`, {line}", path.display())));
            Ignore::default()
        }));
    }
    Ok(Ignore::default())
}

fn locks(operation: &'static str, entries: &[Entry], problems: &mut Problems) -> Result<Vec<(String, Vec<u8>)>> {
    let mut locks = Vec::new();
    for entry in entries.iter().filter(|entry| is_lock_file(&entry.path)) {
        let Node::File(source) = &entry.node else { continue };
        let read = fs::read(&source.path).map_err(|error| Error::io(operation, &source.path, error));
        locks.extend(problems.note(read)?.map(|content| (entry.path.clone(), content)));
    }
    Ok(locks)
}

async fn measure(
    cx: &Context,
    operation: &'static str,
    entries: &[Entry],
    problems: &mut Problems,
) -> Result<Vec<Digest>> {
    let files = entries.iter().filter_map(|entry| match &entry.node {
        Node::File(source) => Some(source.path.clone()),
        _ => None,
    });
    let files: Vec<_> = files.collect();
    let mut contents = BTreeMap::new();
    for (path, measured) in files.iter().zip(digesting::measure(cx, operation, files.clone()).await?) {
        match measured {
            Ok((digest, _)) => _ = contents.insert(path.as_path(), digest),
            Err(why) => problems.add(ErrorKind::PermissionDenied, why),
        }
    }
    Ok(entries.iter().map(|entry| digest(&entry.node, &contents)).collect())
}

fn digest(node: &Node, contents: &BTreeMap<&Path, Digest>) -> Digest {
    let mut digester = Digester::new();
    match node {
        Node::Folder { mode } => digester.field("folder").field(mode.to_le_bytes()),
        Node::Link { target } => digester.field("link").field(target),
        Node::File(source) => {
            let content = contents.get(source.path.as_path()).map(|digest| digest.as_bytes().as_slice());
            digester.field("file").field(source.mode.to_le_bytes()).field(content.unwrap_or_default())
        }
    };
    digester.finish()
}
