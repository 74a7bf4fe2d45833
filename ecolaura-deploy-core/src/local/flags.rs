//! Feature flags in a file of flagd's form, which flagd or an in-process provider watches.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{FeatureFlags, FlagChange, FlagState},
    fence::Epochs,
    local::files::read_if_there,
    vocabulary::Name,
};

mod rewrite;

/// Flags in a JSON file of flagd's definition format: `flags.NAME.{state, variants, defaultVariant}`. Everything else
/// in the file is kept as it is; only the order of keys may change.
///
/// Writers in several processes take turns by a lock on `FILE.lock`. A reader sees the old or the new file, never a
/// part. A cancel leaves the old or the new file.
///
/// The newest epoch of each environment that changed them is in `FILE.epochs`, written under the same lock before the
/// flags are: what reads the flags need not know of it. An older one is refused ([`crate::fence`]).
#[derive(Debug, Clone)]
pub struct FlagFile {
    name: Name,
    path: PathBuf,
}

impl FlagFile {
    /// The flags in `path`, which is read when it is needed.
    pub fn new(name: Name, path: impl Into<PathBuf>) -> Self {
        Self { name, path: path.into() }
    }

    /// The flags that `definitions`, a file of the same format, has and this one lacks. Reads only; all of them if this
    /// file is not there yet.
    pub async fn undefined(&self, cx: &Context, definitions: impl Into<PathBuf>) -> Result<Vec<String>> {
        cx.check("flags.get")?;
        let (path, definitions) = (self.path.clone(), definitions.into());
        blocking("flags.get", move || {
            let wanted = Document::read("flags.get", &definitions)?;
            let mut document = Document::read_or("flags.get", &path, &wanted)?;
            document.define(&wanted)
        })
        .await
    }

    /// Adds the flags that `definitions`, a file of the same format, has and this one lacks, as they are there, and
    /// answers their names. Flags that are here stay as they are; a file that is not there begins as `definitions`
    /// without its flags. Idempotent, fenced as [`FeatureFlags::set`]; a cancel leaves the old or the new file.
    pub async fn define(&self, cx: &Context, definitions: impl Into<PathBuf>) -> Result<Vec<String>> {
        cx.check("flags.set")?;
        let (cx, path, definitions) = (cx.clone(), self.path.clone(), definitions.into());
        blocking("flags.set", move || {
            let wanted = Document::read("flags.set", &definitions)?;
            let path = made(&path)?;
            change(
                &cx,
                &path,
                || Document::read_or("flags.set", &path, &wanted),
                |document| {
                    let added = document.define(&wanted)?;
                    Ok((if added.is_empty() { Applied::Already } else { Applied::Changed }, added))
                },
            )
        })
        .await
    }
}

/// Where a file is, or will be: its folder is made.
fn made(path: &Path) -> Result<PathBuf> {
    let failed = |error| Error::io("flags.set", path, error);
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        found => return found.map_err(failed),
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let name = path.file_name().ok_or_else(|| {
        Error::invalid("flags.set", format!("`{}` is no file name", path.display())).advice("name a file")
    })?;
    Ok(folder.canonicalize().map_err(failed)?.join(name))
}

/// Changes the file at `path`, as the only writer.
fn change<T>(
    cx: &Context,
    path: &Path,
    read: impl FnOnce() -> Result<Document>,
    edit: impl FnOnce(&mut Document) -> Result<(Applied, T)>,
) -> Result<T> {
    let _lock = rewrite::lock(cx, path)?;
    let fence = Fence::read(cx, path)?;
    let mut document = read()?;
    let (applied, answer) = edit(&mut document)?;
    fence.keep()?;
    match applied {
        Applied::Already => {}
        Applied::Changed => rewrite::replace(path, &document.to_bytes()?)?,
    }
    Ok(answer)
}

#[async_trait]
impl FeatureFlags for FlagFile {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fences(&self) -> bool {
        true
    }

    async fn get(&self, cx: &Context, flag: &str) -> Result<FlagState> {
        cx.check("flags.get")?;
        let (path, flag) = (self.path.clone(), flag.to_owned());
        blocking("flags.get", move || {
            let document = Document::read("flags.get", &path)?;
            document.state(&flag)
        })
        .await
    }

    async fn set(&self, cx: &Context, wanted: &FlagChange) -> Result<()> {
        cx.check("flags.set")?;
        let (cx, path, wanted) = (cx.clone(), self.path.clone(), wanted.clone());
        blocking("flags.set", move || {
            // The link stays a link: what it points to is replaced.
            let path = path.canonicalize().map_err(|error| Error::io("flags.set", &path, error))?;
            change(&cx, &path, || Document::read("flags.set", &path), |document| Ok((document.apply(&wanted)?, ())))
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal(operation, "the file work ended early").with_source(error))?
}

/// The newest epochs, with that of a caller who was let in.
struct Fence {
    path: PathBuf,
    before: Epochs,
    after: Epochs,
}

impl Fence {
    /// Refuses an older epoch. The lock on the flags at `path` is held.
    fn read(cx: &Context, path: &Path) -> Result<Self> {
        let path = rewrite::beside(path, "", ".epochs");
        let before: Epochs = match read_if_there("flags.set", &path)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let message = format!("`{}` is not as it was written", path.display());
                Error::new(ErrorKind::Corrupt, "flags.set", message)
                    .advice("remove it, if no other deployer is at work")
                    .with_source(error)
            })?,
            None => Epochs::default(),
        };
        let mut after = before.clone();
        after.admit("flags.set", cx)?;
        Ok(Self { path, before, after })
    }

    fn keep(&self) -> Result<()> {
        if self.after == self.before {
            return Ok(());
        }
        let bytes = crate::context::to_json("flags.set", &self.after)?.to_string();
        // Whatever fails here, the flags are as they were.
        rewrite::replace(&self.path, bytes.as_bytes()).map_err(|error| error.with_effect(Effect::None))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Applied {
    Already,
    Changed,
}

/// The file's content, and where it came from for errors.
struct Document {
    operation: &'static str,
    path: PathBuf,
    root: Value,
}

impl Document {
    fn read(operation: &'static str, path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(operation, path, error))?;
        let root = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("line {}, column {}: not JSON", error.line(), error.column());
            Error::invalid(operation, message)
                .with("file", path.display())
                .advice("mend the file; it must be in flagd's definition format")
                .with_source(error)
        })?;
        Ok(Self { operation, path: path.to_owned(), root })
    }

    /// That at `path`, or if there is none, `model` without its flags.
    fn read_or(operation: &'static str, path: &Path, model: &Self) -> Result<Self> {
        match path.try_exists() {
            Ok(true) => Self::read(operation, path),
            Ok(false) => {
                model.flags()?;
                let mut root = model.root.clone();
                root["flags"] = json!({});
                Ok(Self { operation, path: path.to_owned(), root })
            }
            Err(error) => Err(Error::io(operation, path, error)),
        }
    }

    /// Adds what `wanted` has and this one lacks; the names of what it added.
    fn define(&mut self, wanted: &Self) -> Result<Vec<String>> {
        let there = self.flags()?;
        let new: Vec<_> = wanted.flags()?.iter().filter(|(name, _)| !there.contains_key(*name)).collect();
        for (name, definition) in &new {
            self.root["flags"][name.as_str()] = (*definition).clone();
        }
        Ok(new.into_iter().map(|(name, _)| name.clone()).collect())
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(&self.root)
            .map_err(|error| Error::internal(self.operation, "the flags could not be written").with_source(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn error(&self, kind: ErrorKind, message: String) -> Error {
        Error::new(kind, self.operation, message).with("file", self.path.display())
    }

    fn flags(&self) -> Result<&Map<String, Value>> {
        self.root.get("flags").and_then(Value::as_object).ok_or_else(|| {
            self.error(ErrorKind::InvalidInput, "there is no object `flags`".to_owned())
                .advice("the file must be in flagd's definition format")
        })
    }

    fn flag(&self, flag: &str) -> Result<&Map<String, Value>> {
        let flags = self.flags()?;
        let definition = flags.get(flag).ok_or_else(|| {
            let known: Vec<_> = flags.keys().map(|name| format!("`{name}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            self.error(ErrorKind::NotFound, format!("no flag `{flag}`; there are: {known}"))
        })?;
        definition.as_object().ok_or_else(|| {
            self.error(ErrorKind::InvalidInput, format!("`flags.{flag}` is {definition}, expected an object"))
        })
    }

    fn state(&self, flag: &str) -> Result<FlagState> {
        let definition = self.flag(flag)?;
        let wrong = |field: &str, expected: &str| {
            let found = definition.get(field).map_or_else(|| "missing".to_owned(), Value::to_string);
            let message = format!("`flags.{flag}.{field}` is {found}, expected {expected}");
            self.error(ErrorKind::InvalidInput, message)
        };
        let enabled = match definition.get("state").and_then(Value::as_str) {
            Some("ENABLED") => true,
            Some("DISABLED") => false,
            _ => return Err(wrong("state", "`ENABLED` or `DISABLED`")),
        };
        let variant = definition.get("defaultVariant").and_then(Value::as_str);
        Ok(FlagState::new(enabled, variant.ok_or_else(|| wrong("defaultVariant", "the name of a variant"))?))
    }

    fn apply(&mut self, change: &FlagChange) -> Result<Applied> {
        let found = self.state(&change.flag)?;
        if found == change.to {
            return Ok(Applied::Already);
        }
        self.check_variant(change)?;
        if found != change.from {
            let message = format!("the flag `{}` is {found}, expected {}", change.flag, change.from);
            return Err(self
                .error(ErrorKind::Conflict, message)
                .advice("somebody else changed the flag; look at it and plan again"));
        }
        let definition = &mut self.root["flags"][&change.flag];
        definition["state"] = json!(if change.to.enabled { "ENABLED" } else { "DISABLED" });
        definition["defaultVariant"] = json!(change.to.variant);
        Ok(Applied::Changed)
    }

    fn check_variant(&self, change: &FlagChange) -> Result<()> {
        let variants = self.flag(&change.flag)?.get("variants").and_then(Value::as_object);
        if variants.is_some_and(|variants| variants.contains_key(&change.to.variant)) {
            return Ok(());
        }
        let known: Vec<_> =
            variants.into_iter().flat_map(|variants| variants.keys()).map(|name| format!("`{name}`")).collect();
        let message =
            format!("the flag `{}` has no variant `{}`; it has: {}", change.flag, change.to.variant, known.join(", "));
        Err(self.error(ErrorKind::InvalidInput, message))
    }
}

#[cfg(test)]
mod tests;
