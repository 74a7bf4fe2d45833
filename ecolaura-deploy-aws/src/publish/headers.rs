//! What S3 is told to serve an object with, and how it is recognized later.

use std::collections::HashMap;

use aws_smithy_types::{DateTime, date_time::Format};
use ecolaura_deploy_core::{
    Error, Result,
    backend::SiteObject,
    vocabulary::{Digest, Name},
};

/// User metadata: the SHA-256 of the content.
pub(super) const DIGEST: &str = "sha256";
/// User metadata: the digest over content and headers.
pub(super) const MARK: &str = "ecolaura-object";
/// User metadata: the site that the object belongs to.
pub(super) const SITE: &str = "ecolaura-site";

/// Names that headers of a site cannot have.
pub(super) const RESERVED: [&str; 3] = [DIGEST, MARK, SITE];

/// The headers of one object, as S3 takes them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Headers {
    pub(super) content_type: String,
    pub(super) cache_control: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) language: Option<String>,
    pub(super) disposition: Option<String>,
    pub(super) expires: Option<DateTime>,
    pub(super) metadata: HashMap<String, String>,
}

impl Headers {
    /// Those of a served object. S3 has places of its own for some; all others become `x-amz-meta-…`.
    pub(super) fn served(operation: &'static str, site: &Name, object: &SiteObject) -> Result<Self> {
        let expires = expiry(operation, object)?;
        let mut rest = object.headers.clone();
        rest.remove("expires");
        let (encoding, language) = (rest.remove("content-encoding"), rest.remove("content-language"));
        let disposition = rest.remove("content-disposition");
        let mut headers = Self::stored(site, object.digest);
        headers.metadata.extend(rest);
        headers.metadata.insert(MARK.to_owned(), mark(object).to_hex());
        let content_type = object.content_type.clone();
        let cache_control = Some(object.cache_control.to_string());
        Ok(Self { content_type, cache_control, encoding, language, disposition, expires, ..headers })
    }

    /// Those of a record of ours, which changes.
    pub(super) fn record(site: &Name, content: &[u8]) -> Self {
        let content_type = "application/json".to_owned();
        Self { content_type, cache_control: Some("no-store".to_owned()), ..Self::stored(site, Digest::of(content)) }
    }

    /// The digest of the content, as 64 hexadecimal digits.
    pub(super) fn digest(&self) -> &str {
        self.metadata.get(DIGEST).map_or("", String::as_str)
    }

    /// Those of content that nobody is served yet.
    pub(super) fn stored(site: &Name, digest: Digest) -> Self {
        let metadata = [(DIGEST, digest.to_hex()), (SITE, site.to_string())];
        Self {
            content_type: "application/octet-stream".to_owned(),
            cache_control: None,
            encoding: None,
            language: None,
            disposition: None,
            expires: None,
            metadata: metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }
}

/// What the header `expires` says.
pub(super) fn expiry(operation: &'static str, object: &SiteObject) -> Result<Option<DateTime>> {
    let date = |text: &String| {
        DateTime::from_str(text, Format::HttpDate).map_err(|error| {
            Error::invalid(operation, format!("header `expires`: `{text}` is no date of HTTP"))
                .advice("write it as `Wed, 21 Oct 2026 07:28:00 GMT`, or leave it to Cache-Control")
                .with_source(error)
        })
    };
    object.headers.get("expires").map(date).transpose()
}

/// The bytes of the metadata of a served object. Some stores count what HTTP puts before each name, so it is counted here.
pub(super) fn metadata_size(site: &Name, object: &SiteObject) -> usize {
    const BEFORE: usize = "x-amz-meta-".len();
    let hex = object.digest.to_hex().len();
    let own = [(DIGEST, hex), (MARK, hex), (SITE, site.as_str().len())];
    let renamed = renamed(object).map(|name| (name, object.headers.get(name).map_or(0, String::len)));
    own.into_iter().chain(renamed).map(|(name, value)| BEFORE + name.len() + value).sum()
}

/// The names of headers that S3 cannot send under their own name.
pub(super) fn renamed(object: &SiteObject) -> impl Iterator<Item = &str> {
    const OWN: [&str; 4] = ["content-disposition", "content-encoding", "content-language", "expires"];
    object.headers.keys().map(String::as_str).filter(|name| !OWN.contains(name))
}

/// What tells an object from any other in content or headers.
pub(super) fn mark(object: &SiteObject) -> Digest {
    Digest::of(serde_json::to_vec(object).unwrap_or_default())
}

/// Sets [`Headers`] on a request: those who begin, put and copy an object take them by the same names.
macro_rules! with_headers {
    ($request:expr, $headers:expr) => {{
        let headers = $headers.clone();
        $request
            .content_type(headers.content_type)
            .set_cache_control(headers.cache_control)
            .set_content_encoding(headers.encoding)
            .set_content_language(headers.language)
            .set_content_disposition(headers.disposition)
            .set_expires(headers.expires)
            .set_metadata(Some(headers.metadata))
    }};
}
pub(super) use with_headers;

#[cfg(test)]
mod tests {
    use ecolaura_deploy_core::{ErrorKind, vocabulary::CacheControl};

    use super::*;

    fn object(headers: &[(&str, &str)]) -> SiteObject {
        let mut object = SiteObject::new(Digest::of("x"), 1, "text/css", CacheControl::Immutable);
        object.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        object
    }

    #[test]
    fn headers_that_s3_knows_have_their_own_place_and_all_others_become_metadata() {
        let site = Name::new("web").unwrap();
        let given =
            [("content-encoding", "br"), ("expires", "Wed, 21 Oct 2026 07:28:00 GMT"), ("x-frame-options", "DENY")];
        let headers = Headers::served("t", &site, &object(&given)).unwrap();
        assert_eq!(headers.encoding.as_deref(), Some("br"));
        assert_eq!(headers.expires.unwrap().secs(), 1_792_567_680);
        assert_eq!(headers.cache_control.as_deref(), Some("public, max-age=31536000, immutable"));
        assert_eq!(headers.metadata["x-frame-options"], "DENY");
        assert_eq!(headers.metadata[SITE], "web");
        assert!(!headers.metadata.contains_key("content-encoding"));
        assert_eq!(renamed(&object(&given)).collect::<Vec<_>>(), ["x-frame-options"]);
        let sent = headers.metadata.iter().map(|(name, value)| format!("x-amz-meta-{name}").len() + value.len());
        assert_eq!(metadata_size(&site, &object(&given)), sent.sum::<usize>());
    }

    #[test]
    fn a_header_alone_makes_another_mark() {
        assert_eq!(mark(&object(&[])), mark(&object(&[])));
        assert_ne!(mark(&object(&[])), mark(&object(&[("content-language", "de")])));
    }

    #[test]
    fn a_date_that_is_none_is_refused() {
        let error = Headers::served("t", &Name::new("web").unwrap(), &object(&[("expires", "soon")])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
