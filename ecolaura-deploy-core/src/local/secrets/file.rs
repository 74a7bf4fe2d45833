//! Secrets in files.

use std::{
    fs::{File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use serde_json::Value;

use super::check_reference;
use crate::{
    Context, Error, ErrorKind, Result, Secret, SecretRef, backend::SecretStore, redact::Redactor, vocabulary::Name,
};

/// The largest secret file, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// Secrets in a folder with one file for each, as Kubernetes mounts them, or in one JSON file that maps names to
/// texts. One line end after the value is not part of it.
///
/// The version is the file's inode and modification time: it says nothing of the value, and every rewrite makes a new
/// one. In a JSON file all secrets have the same version. A file that others may read causes a warning.
#[derive(Debug, Clone)]
pub struct FileSecrets {
    name: Name,
    path: PathBuf,
    redactor: Option<Redactor>,
}

impl FileSecrets {
    /// The secrets in the folder or file `path`, called `name` in references.
    pub fn new(name: Name, path: impl Into<PathBuf>) -> Self {
        Self { name, path: path.into(), redactor: None }
    }

    /// The same, making each value that is handed out known to `redactor` too, beside the context's.
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = Some(redactor);
        self
    }

    async fn read(&self, cx: &Context, operation: &'static str, name: &str) -> Result<Read> {
        cx.check(operation)?;
        let (path, secret) = (self.path.clone(), name.to_owned());
        let read = tokio::task::spawn_blocking(move || read(operation, &path, &secret))
            .await
            .map_err(|error| Error::internal(operation, "reading a secret ended early").with_source(error))??;
        if read.mode & 0o077 != 0 {
            let (path, mode) = (read.path.display(), read.mode & 0o777);
            cx.warn(format!("others may read the secret file `{path}` (mode {mode:03o}); run `chmod 600` on it"));
        }
        Ok(read)
    }
}

#[async_trait]
impl SecretStore for FileSecrets {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn resolve(&self, cx: &Context, name: &str) -> Result<SecretRef> {
        let read = self.read(cx, "secrets.resolve", name).await?;
        Ok(SecretRef::new(self.name.clone(), name, read.version))
    }

    async fn get(&self, cx: &Context, reference: &SecretRef) -> Result<Secret<String>> {
        let read = self.read(cx, "secrets.get", &reference.name).await?;
        check_reference(&self.name, reference, &read.version)?;
        for redactor in self.redactor.iter().chain([cx.redactor()]) {
            redactor.register(&read.value);
        }
        Ok(read.value)
    }
}

struct Read {
    value: Secret<String>,
    version: String,
    mode: u32,
    path: PathBuf,
}

fn read(operation: &'static str, path: &Path, name: &str) -> Result<Read> {
    let whole = std::fs::metadata(path).map_err(|error| Error::io(operation, path, error))?;
    if !whole.is_dir() {
        let (text, metadata) = read_file(operation, path)?;
        let value = pick(operation, path, &text, name)?;
        return Ok(Read { value, version: version(&metadata), mode: metadata.mode(), path: path.to_owned() });
    }
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        let message = format!("`{name}` is not the name of a secret: expected a file name without `/` and leading `.`");
        return Err(Error::invalid(operation, message));
    }
    let path = path.join(name);
    let (mut text, metadata) = read_file(operation, &path)?;
    let end = text.strip_suffix('\n').map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(end);
    let value = not_empty(operation, &path, name, text)?;
    Ok(Read { value, version: version(&metadata), mode: metadata.mode(), path })
}

/// The text and the state it had, which is the same before and after reading.
fn read_file(operation: &'static str, path: &Path) -> Result<(String, Metadata)> {
    let fail = |error| Error::io(operation, path, error);
    // To open a pipe may take for ever.
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(no_file(operation, path));
    }
    let mut file = File::open(path).map_err(fail)?;
    let before = file.metadata().map_err(fail)?;
    if !before.is_file() || before.len() > LIMIT {
        return Err(no_file(operation, path));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(LIMIT).read_to_end(&mut bytes).map_err(fail)?;
    let after = file.metadata().map_err(fail)?;
    if version(&before) != version(&after) || before.len() != after.len() {
        let message = format!("`{}` was changed while it was read", path.display());
        return Err(Error::new(ErrorKind::Conflict, operation, message).advice("run again"));
    }
    // The cause would show the bytes.
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::invalid(operation, format!("`{}` is not UTF-8", path.display())))?;
    Ok((text, after))
}

fn no_file(operation: &'static str, path: &Path) -> Error {
    Error::invalid(operation, format!("`{}` is not a file of at most 1 MiB", path.display()))
}

fn version(metadata: &Metadata) -> String {
    format!("{:x}-{:x}-{:x}", metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}

fn pick(operation: &'static str, path: &Path, text: &str, name: &str) -> Result<Secret<String>> {
    // The parser's message may hold a piece of the file, its position does not.
    let root: Value = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Error::invalid(operation, format!("`{}` is not JSON at {place}", path.display()))
    })?;
    match root.get(name) {
        Some(Value::String(value)) => not_empty(operation, path, name, value.clone()),
        Some(_) => Err(Error::invalid(operation, format!("the secret `{name}` is not a text"))
            .with("file", path.display())
            .advice("the file must map names to texts")),
        None => Err(Error::new(ErrorKind::NotFound, operation, format!("no secret `{name}`"))
            .with("file", path.display())
            .advice("add it to the file")),
    }
}

fn not_empty(operation: &'static str, path: &Path, name: &str, value: String) -> Result<Secret<String>> {
    if value.is_empty() {
        return Err(Error::invalid(operation, format!("the secret `{name}` is empty")).with("file", path.display()));
    }
    Ok(Secret::new(value))
}
