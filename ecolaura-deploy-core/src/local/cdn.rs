//! A site in a directory, and a small server for it.
//!
//! ```text
//! live                   which release is served, which are kept, oldest first, and the newest epochs; replaced in one
//!                        rename
//! releases/HEX.json      a release's manifest: keys, digests, headers
//! objects/HE/HEX         contents, by SHA-256
//! invalidations.jsonl    what caches were told to forget
//! incoming/              uploads under way
//! lock, incoming.lock    taken by whoever changes the above
//! ```
//!
//! For one machine: there is no cache in front of it, and whoever may write the directory may change the site.

mod index;
mod leftovers;
mod publisher;
mod response;
mod server;
mod state;
mod store;

pub use self::{
    publisher::DirectoryCdn,
    server::{StaticServer, serve, serve_until},
};

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests;
