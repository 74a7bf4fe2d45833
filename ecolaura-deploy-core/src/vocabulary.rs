//! Types instead of strings: names, digests, image references, versions, cache-control.
//!
//! Every parser answers with a [`ParseError`] that holds the input, the position and what was expected there.

mod cache_control;
mod digest;
mod image;
mod migration;
mod name;
mod parse;
mod release;

pub use self::{
    cache_control::CacheControl,
    digest::{Digest, Digester, Fingerprint},
    image::{BuiltImage, ImageReference, PinnedImage, Platform, Repository, Tag},
    migration::{MigrationChecksum, MigrationVersion},
    name::{EnvironmentName, Name, ServiceName},
    parse::ParseError,
    release::{Release, ReleaseSequence, SchemaRange},
};
