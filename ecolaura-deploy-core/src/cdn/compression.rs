//! Compressed variants of a site's files: which, and made how.
//!
//! A store such as S3 has one object for each key and does not choose. So the variants are objects of their own beside
//! the original, `app.js.br` and `app.js.gz`, which everybody can read who asks for them, while `app.js` stays readable by
//! everybody. Who gets which is chosen before the store: by `DirectoryCdn`'s server, or on `CloudFront` by a function.

mod function;
mod work;

use std::collections::BTreeSet;

pub(super) use self::work::{Made, Wanted, make};
use super::Encoding;

/// What is compressed unless something else is said: text by its nature, and binaries that were not compressed.
const EXTENSIONS: [&str; 22] = [
    "atom",
    "css",
    "csv",
    "htm",
    "html",
    "ico",
    "js",
    "json",
    "map",
    "md",
    "mjs",
    "otf",
    "rss",
    "svg",
    "ttf",
    "txt",
    "wasm",
    "webmanifest",
    "xhtml",
    "xml",
    "yaml",
    "yml",
];
/// Less fits into the packets that carry the headers.
const ABOVE: u64 = 1024;
/// Of Brotli, up to 11: the last two cost ten times as much for a tenth of the bytes.
const QUALITY: u32 = 9;

/// Which files of a site have compressed variants beside them, made by the publish or found in the folder.
///
/// Every file with one of the extensions has a variant in each encoding, so that a path alone tells which there are; that
/// of a file that is small, or does not shrink, holds the same bytes. Files that the build has made (`app.js.br` beside
/// `app.js`) are taken instead, whatever the extension, once they are found to hold the same content. The same input
/// makes the same bytes.
///
/// `CloudFront` compresses by itself, if its behaviour says so, what it gets uncompressed and what has between 1,000 and
/// 10,000,000 bytes. Variants are for larger files, such as WebAssembly, for every byte that the best compression saves,
/// and for stores without such a cache; on `CloudFront` they take [`Compression::viewer_request`].
///
/// A variant is never served as immutable: another release of the compressor may make other bytes of the same content.
/// Browsers keep it for as long as they keep an immutable original.
///
/// ```
/// use ecolaura_deploy_core::cdn::{Compression, Encoding, SiteSource};
/// let site = SiteSource::new("web/dist").compress(Compression::new().above(4096).encodings([Encoding::Brotli]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    extensions: BTreeSet<String>,
    encodings: BTreeSet<Encoding>,
    above: u64,
    quality: u32,
}

impl Default for Compression {
    fn default() -> Self {
        let extensions = EXTENSIONS.into_iter().map(str::to_owned).collect();
        Self { extensions, encodings: Encoding::ALL.into(), above: ABOVE, quality: QUALITY }
    }
}

impl Compression {
    /// Text and what else shrinks, above 1,024 bytes, in Brotli and gzip.
    pub fn new() -> Self {
        Self::default()
    }

    /// Files with these extensions, without the dot, in any case, instead of the usual ones.
    pub fn extensions(mut self, extensions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.extensions = extensions.into_iter().map(|extension| extension.into().to_ascii_lowercase()).collect();
        self
    }

    /// In these encodings.
    pub fn encodings(mut self, encodings: impl IntoIterator<Item = Encoding>) -> Self {
        self.encodings = encodings.into_iter().collect();
        self
    }

    /// Leaves files up to `bytes` as they are (default 1,024).
    pub fn above(mut self, bytes: u64) -> Self {
        self.above = bytes;
        self
    }

    /// With another quality of Brotli, at most 11 (default 9). It is no secret to browsers: only the size differs.
    pub fn quality(mut self, quality: u32) -> Self {
        self.quality = quality.min(11);
        self
    }

    /// Whether files with this name have variants.
    pub(super) fn covers(&self, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or(key);
        let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        extension.is_some_and(|extension| self.extensions.contains(&extension))
    }

    /// In which encodings `key` is wanted.
    pub(super) fn wanted(&self, key: &str) -> impl Iterator<Item = Encoding> {
        let covered = self.covers(key);
        self.encodings.iter().copied().filter(move |_| covered)
    }
}

#[cfg(test)]
mod tests;
