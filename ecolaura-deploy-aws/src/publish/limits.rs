//! What S3 takes of an object: known before anything is written, not in the middle of a switch.

use ecolaura_deploy_core::{
    Error, Result,
    backend::{SiteManifest, SiteObject},
};

use super::{
    headers::{self, RESERVED, metadata_size},
    publisher::S3Cdn,
};

/// The bytes of a key, with all that stands before the site's own part of it.
const LONGEST_KEY: usize = 1024;
/// The bytes of an object's metadata, names and values.
const MOST_METADATA: usize = 2048;
/// The bytes of an object's headers, names and values. S3 takes 8 KB with each request, of which the signature has its
/// part, and the token of a session the largest.
const MOST_HEADERS: usize = 6 * 1024;
/// What S3 copies in one request.
const LARGEST_COPY: u64 = 5 * 1024 * 1024 * 1024;
/// What a release's own folder adds to a key: its digest in hexadecimal digits, and a slash.
const FOLDER: usize = 65;
/// How many problems are named.
const NAMED: usize = 20;

impl S3Cdn {
    /// Fails with `InvalidInput` if S3 would refuse any object of `manifest`, and names all. `relabelled` says which
    /// immutable keys get other headers, which takes a copy.
    pub(super) fn fits(
        &self,
        operation: &'static str,
        manifest: &SiteManifest,
        relabelled: impl Fn(&str, &SiteObject) -> bool,
    ) -> Result<()> {
        let unfit = |(key, object)| self.unfit(operation, (key, object), relabelled(key, object));
        self.refuse(operation, manifest.0.iter().flat_map(unfit).collect())
    }

    /// The same for an object that is stored and not served yet.
    pub(super) fn fits_alone(&self, operation: &'static str, key: &str, object: &SiteObject) -> Result<()> {
        self.refuse(operation, self.unfit(operation, (&key.to_owned(), object), false))
    }

    fn unfit(&self, operation: &'static str, (key, object): (&String, &SiteObject), relabelled: bool) -> Vec<String> {
        let mut problems = Vec::new();
        let length = self.prefix.len() + if self.folders { FOLDER } else { 0 } + key.len();
        if length > LONGEST_KEY {
            problems.push(format!("its whole key has {length} bytes, at most {LONGEST_KEY}"));
        }
        let copied = self.folders || relabelled || !object.is_immutable();
        if copied && object.size > LARGEST_COPY {
            problems.push(format!("it has {} bytes and is copied, at most {LARGEST_COPY}", object.size));
        }
        let reserved = RESERVED.into_iter().filter(|name| object.headers.contains_key(*name));
        problems.extend(reserved.map(|name| format!("header `{name}` is the publisher's own")));
        let metadata = metadata_size(&self.name, object);
        if metadata > MOST_METADATA {
            problems.push(format!(
                "its headers that S3 has no place for take {metadata} bytes as metadata, at most {MOST_METADATA}"
            ));
        }
        let headers = headers_size(object);
        if metadata <= MOST_METADATA && headers > MOST_HEADERS {
            problems.push(format!("its headers take {headers} bytes, at most {MOST_HEADERS}"));
        }
        problems.extend(headers::expiry(operation, object).err().map(|error| error.message().to_owned()));
        problems.into_iter().map(|problem| format!("`{key}`: {problem}")).collect()
    }

    fn refuse(&self, operation: &'static str, mut problems: Vec<String>) -> Result<()> {
        if problems.is_empty() {
            return Ok(());
        }
        let (count, more) = (problems.len(), problems.len().saturating_sub(NAMED));
        problems.truncate(NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let plural = if count == 1 { "" } else { "s" };
        let message = format!("S3 would refuse the site, {count} problem{plural}: {}{more}", problems.join("; "));
        Err(Error::invalid(operation, message).with("site", self.bucket.url(&self.prefix)).advice(
            "nothing was written; shorten names and the prefix, let a response headers policy send long headers, and put a \
             hash of the content into the names of files over 5 GiB",
        ))
    }
}

fn headers_size(object: &SiteObject) -> usize {
    let named: usize = object.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    named + object.content_type.len() + object.cache_control.to_string().len()
}
