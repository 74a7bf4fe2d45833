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

    async fn set(&self, cx: &Context, change: &FlagChange) -> Result<()> {
        cx.check("flags.set")?;
        let (cx, path, change) = (cx.clone(), self.path.clone(), change.clone());
        blocking("flags.set", move || {
            // The link stays a link: what it points to is replaced.
            let path = path.canonicalize().map_err(|error| Error::io("flags.set", &path, error))?;
            let _lock = rewrite::lock(&cx, &path)?;
            let fence = Fence::read(&cx, &path)?;
            let mut document = Document::read("flags.set", &path)?;
            let applied = document.apply(&change)?;
            fence.keep()?;
            match applied {
                Applied::Already => Ok(()),
                Applied::Changed => rewrite::replace(&path, &document.to_bytes()?),
            }
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

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(&self.root)
            .map_err(|error| Error::internal(self.operation, "the flags could not be written").with_source(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn error(&self, kind: ErrorKind, message: String) -> Error {
        Error::new(kind, self.operation, message).with("file", self.path.display())
    }

    fn flag(&self, flag: &str) -> Result<&Map<String, Value>> {
        let flags = self.root.get("flags").and_then(Value::as_object).ok_or_else(|| {
            self.error(ErrorKind::InvalidInput, "there is no object `flags`".to_owned())
                .advice("the file must be in flagd's definition format")
        })?;
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
