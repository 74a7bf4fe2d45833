//! What work that did not end left behind.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Context, Result, vocabulary::Name};

/// One thing that is in nobody's use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Leftover {
    /// What it is, in two or three words: `staged blob`, `scratch database`, `idle candidate`, `orphan process`.
    pub kind: String,
    /// Which: a path, a digest, a process id.
    pub object: String,
    /// How it came to be there, and what it costs to keep, for people.
    pub found: String,
    /// What cleaning does: `remove the file`, `end the process`.
    pub action: String,
    /// Its size, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Since when it is there, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Leftover {
    /// A `kind` of thing named `object`.
    pub fn new(
        kind: impl Into<String>,
        object: impl Into<String>,
        found: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self {
            kind: kind.into(),
            object: object.into(),
            found: found.into(),
            action: action.into(),
            bytes: None,
            since: None,
        }
    }

    /// With its size.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// With its age.
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }
}

/// A backend that can tell what unfinished work left in it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Inspect: fmt::Debug + Send + Sync + 'static {
    /// The backend's name.
    fn name(&self) -> &Name;

    /// What is in nobody's use. What may still be in use by a process that lives is not listed. Reads only.
    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>>;

    /// Cleans `leftover` up, if it is still left over by then. Idempotent: what is gone is success. Nothing that is in
    /// use, and nothing that a release needs to be served or brought back, is ever touched.
    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()>;
}

const _: fn(&dyn Inspect) = |_| {};
