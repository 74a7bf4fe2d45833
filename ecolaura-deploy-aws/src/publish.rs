//! A site in a bucket of S3, or of a store that speaks its protocol, with `CloudFront` before it.
//!
//! ```text
//! PREFIX KEY                       what is served: immutable keys as they were uploaded, mutable ones as copies
//! STATE live.json                  which release is served, which are kept, oldest first, and the newest epochs; replaced
//!                                  by conditional writes only
//! STATE releases/HEX.json          a release's manifest: keys, digests, headers
//! STATE objects/HEX                contents of mutable keys, by SHA-256
//! ```
//!
//! A switch is not atomic, as S3 changes one key at a time. It notes first which release is wanted, then copies within
//! S3 what differs, pages after everything else and the entry page last. Whoever is stopped in between leaves a mixture
//! that is known as such: the same call completes it, and so does a switch to any other release. Assets stay where they
//! are until they are pruned, so that each page of the mixture has its own.
//!
//! A switch with a distribution before it also notes that caches have to be told, and an invalidation of all that takes
//! the note away. So a publish that was killed in between is known: the next one, of whichever release, tells them.
//!
//! The store must honour `If-None-Match` and `If-Match`, as S3 does. Two deployers at once are kept apart by the
//! environment's lock; without one, the loser notices before its next group of copies, and says so. A prune spares what a
//! publish wrote down lately and has not switched to yet ([`S3Cdn::grace`]).
//!
//! S3 has one object for each key and does not choose between encodings. What is to be sent compressed is compressed by
//! `CloudFront` (objects of 1,000 to 10,000,000 bytes, if the behaviour says so), or has variants of its own by core's
//! `SiteSource::compress`, between which a function chooses (`Compression::viewer_request`). Content that is stored with
//! `Content-Encoding` under its only name would be unreadable to clients that do not know the encoding.
//!
//! Headers that S3 has no place for are stored as `x-amz-meta-…`; let a response headers policy of the distribution send
//! them. S3 takes 2,048 bytes of those for each object, keys of 1,024 bytes with everything before them, and copies 5 GiB at
//! most. A plan refuses what would not fit, and so does a switch before it writes anything.
//!
//! An immutable key has one content, which lies where it is served. A plan refuses another one as long as any release that
//! is kept has the key, whichever of the two calls it immutable: a switch back would not find the older content.

mod bucket;
mod check;
mod cost;
mod grants;
mod headers;
#[cfg(feature = "cloudfront")]
mod invalidate;
mod leftovers;
mod limits;
mod listing;
mod patience;
#[cfg(feature = "key-value-store")]
mod pointer;
mod prune;
mod publisher;
mod reader;
mod signed;
mod state;
mod stored;
mod switch;
mod upload;

#[cfg(feature = "key-value-store")]
pub use self::pointer::PointerCdn;
pub use self::{
    check::{Finding, Findings, Weight},
    publisher::S3Cdn,
};

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
