//! Where a blob comes from on its way into the registry.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream, stream::BoxStream};

use super::{
    inflow,
    outflow::{self, Seen},
};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::Registry,
    image::{Descriptor, Layout},
    vocabulary::Repository,
};

/// How much is sent at a time, in bytes.
pub(super) const PIECE: usize = 256 * 1024;
/// The annotation by which containerd and its like say where else a blob is; the registry's host follows.
const SOURCE: &str = "containerd.io/distribution.source.";

/// The pieces of a blob, in their order.
pub(super) type Pieces = BoxStream<'static, Result<Bytes>>;

#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    Layout(&'a Layout),
    Elsewhere(Source<'a>),
    Memory(&'a Bytes),
}

/// A repository of a registry that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) registry: &'a dyn Registry,
    pub(super) repository: &'a Repository,
    /// What the repository is called in the registry that is written, if that is the same one.
    pub(super) mount: Option<&'a str>,
}

/// The error of a layout that has not, or no longer, what is to be pushed.
pub(super) fn lost(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound if error.advice_text().is_none() => error.advice("build the image again, then push it"),
        _ => error,
    }
}

impl Source<'_> {
    /// Says in `error` where it happened.
    pub(super) fn blame(&self, error: Error) -> Error {
        error.with("copied from", self.place())
    }

    pub(super) fn place(&self) -> String {
        format!("`{}` of `{}`", self.repository, self.registry.name())
    }
}

impl<'a> Origin<'a> {
    /// Where else in the registry at `host` `blob` may be.
    pub(super) fn mounts(self, host: &str, blob: &'a Descriptor) -> impl Iterator<Item = &'a str> {
        let known = match self {
            Self::Elsewhere(source) => source.mount,
            _ => None,
        };
        let said = blob.annotation(&format!("{SOURCE}{host}")).unwrap_or_default();
        let said = said.split(',').map(str::trim).filter(|source| source.parse::<Repository>().is_ok());
        known.into_iter().chain(said)
    }

    /// Begins to read `blob`. The last piece comes only if all of them together are what they should be.
    pub(super) async fn pieces(
        self,
        (cx, operation): (&Context, &'static str),
        blob: &Descriptor,
        seen: &Arc<Seen>,
    ) -> Result<Pieces> {
        match self {
            Self::Layout(layout) => outflow::file((cx, operation), layout, blob).await.map_err(lost),
            Self::Elsewhere(source) => inflow::open((cx, operation), source, blob, seen).await,
            Self::Memory(bytes) => {
                let bytes = bytes.clone();
                let starts = (0..bytes.len()).step_by(PIECE);
                let pieces = starts.map(move |at| Ok(bytes.slice(at..bytes.len().min(at + PIECE))));
                Ok(stream::iter(pieces).boxed())
            }
        }
    }
}
