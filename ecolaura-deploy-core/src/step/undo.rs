//! Undoing as data: a record names kind, version and target, and a backend of that kind and target executes it, in
//! this process or in another, with this pipeline or a later one.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Context, Error, ErrorKind, Result};

/// The data that undoes one kind of effect.
pub trait UndoData: Clone + fmt::Debug + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// What it undoes: `registry tag`. Unique among kinds.
    const KIND: &'static str;
    /// The version of the data's form. A backend reads its own and older ones.
    const VERSION: u32 = 1;
}

/// For steps that leave nothing to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoUndo {}

impl UndoData for NoUndo {
    const KIND: &'static str = "nothing";
}

/// A backend that executes undo data of one kind.
#[async_trait]
pub trait Undoer<U: UndoData>: fmt::Debug + Send + Sync + 'static {
    /// The backend's name: data of another target is not its own.
    fn target(&self) -> String;

    /// What undoing does, for people: `move tag dev back to sha256:…`.
    fn describe(&self, undo: &U) -> String;

    /// Undoes. Idempotent: what is undone already is success.
    async fn undo(&self, cx: &Context, undo: U) -> Result<()>;
}

/// Which backend executes a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UndoKey {
    /// [`UndoData::KIND`].
    pub kind: String,
    /// [`Undoer::target`].
    pub target: String,
}

/// Undo data as it stands in a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UndoRecord {
    /// Which backend executes it.
    #[serde(flatten)]
    pub key: UndoKey,
    /// [`UndoData::VERSION`] at the time.
    pub version: u32,
    /// The data.
    pub data: serde_json::Value,
    /// What undoing does, for people.
    pub description: String,
}

#[async_trait]
pub(crate) trait ErasedUndoer: Send + Sync {
    fn key(&self) -> UndoKey;
    async fn undo(&self, cx: &Context, record: &UndoRecord) -> Result<()>;
}

struct Erased<U: UndoData>(Arc<dyn Undoer<U>>);

pub(crate) fn erase_undoer<U: UndoData>(undoer: Arc<dyn Undoer<U>>) -> Arc<dyn ErasedUndoer> {
    Arc::new(Erased(undoer))
}

impl UndoRecord {
    pub(crate) fn new<U: UndoData>(undoer: &dyn Undoer<U>, undo: &U) -> Result<Self> {
        Ok(Self {
            key: UndoKey { kind: U::KIND.to_owned(), target: undoer.target() },
            version: U::VERSION,
            data: crate::context::to_json("run.record", undo)?,
            description: undoer.describe(undo),
        })
    }
}

#[async_trait]
impl<U: UndoData> ErasedUndoer for Erased<U> {
    fn key(&self) -> UndoKey {
        UndoKey { kind: U::KIND.to_owned(), target: self.0.target() }
    }

    async fn undo(&self, cx: &Context, record: &UndoRecord) -> Result<()> {
        if record.version > U::VERSION {
            let message =
                format!("undo data `{}` has version {}, this program knows {}", U::KIND, record.version, U::VERSION);
            return Err(Error::new(ErrorKind::Unsupported, "run.undo", message).advice("use a newer program"));
        }
        let undo = serde_json::from_value(record.data.clone()).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "run.undo", format!("undo data `{}` cannot be read", U::KIND))
                .with_source(error)
        })?;
        self.0.undo(cx, undo).await
    }
}
