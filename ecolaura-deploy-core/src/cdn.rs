//! The publish protocol, the same for every CDN: assets, barrier, pages, invalidation, pruning later.
//!
//! A page and the assets it names are fetched at different times, by browsers that may hold an old page for hours. So
//! assets appear before the pages that name them, nothing is deleted by a publish, and what was published before stays
//! for as many releases as are kept. Undoing a publish needs no upload: everything is still there.
//!
//! [`SiteSource`] says what a site consists of, [`publish`] brings a [`CdnPublisher`](crate::backend::CdnPublisher)
//! to it, [`plan()`] says what that would change, [`switch_back`] undoes it. [`diff()`] and [`invalidation_paths`] are
//! the decisions in it, without I/O.

#[cfg(feature = "compress")]
mod compression;
mod content_type;
mod cost;
mod diff;
pub(crate) mod digesting;
mod encoding;
mod invalidation;
mod key;
mod memory;
mod plan;
mod publish;
mod rules;
pub(crate) mod scratch;
mod source;
mod switch_back;
#[cfg(feature = "compress")]
mod variants;
mod walk;

#[cfg(feature = "compress")]
pub use self::compression::Compression;
pub use self::{
    content_type::content_type,
    cost::{Prices, PublishCost},
    diff::{KeyChange, KeyDiff, SiteDiff, diff},
    encoding::{Encoding, variant_of},
    invalidation::{invalidation_paths, invalidation_reference},
    key::cached_path,
    plan::plan,
    publish::{PublishOptions, PublishReport, publish},
    rules::{CacheRule, HeaderRule, default_cache_control},
    source::{PreparedSite, SiteSource},
    switch_back::switch_back,
};
