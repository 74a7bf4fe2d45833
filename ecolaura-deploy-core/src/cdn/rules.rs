//! Which headers a file is published with, by its key.

use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use http::{HeaderName, HeaderValue};

use crate::vocabulary::CacheControl;

/// Keys that match get this `Cache-Control`. Of several rules the first that matches counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRule {
    /// A glob over keys: `*` within a folder, `**` across folders.
    pub glob: String,
    /// The directive.
    pub cache_control: CacheControl,
}

impl CacheRule {
    /// `cache_control` for keys that match `glob`.
    pub fn new(glob: impl Into<String>, cache_control: CacheControl) -> Self {
        Self { glob: glob.into(), cache_control }
    }
}

/// Keys that match get this header as well. Of several values for one name the last counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// A glob over keys: `*` within a folder, `**` across folders.
    pub glob: String,
    /// The header's name, in any case.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl HeaderRule {
    /// `name: value` for keys that match `glob`.
    pub fn new(glob: impl Into<String>, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { glob: glob.into(), name: name.into(), value: value.into() }
    }
}

/// What a key gets when no rule matches: pages, web manifests, service workers and `config.json` are asked about each
/// time; names that hold a hash of the content are kept for ever; everything else for five minutes.
///
/// ```
/// use ecolaura_deploy_core::{cdn::default_cache_control, vocabulary::CacheControl};
/// assert_eq!(default_cache_control("index.html"), CacheControl::Revalidate);
/// assert_eq!(default_cache_control("assets/app.4f2a91c0.js"), CacheControl::Immutable);
/// assert_eq!(default_cache_control("assets/bootstrap-datepicker.js").to_string(), "public, max-age=300");
/// ```
pub fn default_cache_control(key: &str) -> CacheControl {
    let name = key.rsplit('/').next().unwrap_or(key).to_ascii_lowercase();
    if is_entry_point(&name) {
        return CacheControl::Revalidate;
    }
    if holds_hash(key) {
        return CacheControl::Immutable;
    }
    CacheControl::MaxAge { browser: Duration::from_mins(5), shared: None }
}

/// Files that browsers ask for by a fixed name and that decide what is loaded next.
fn is_entry_point(name: &str) -> bool {
    const WORKERS: [&str; 4] = ["sw.js", "sw.mjs", "service-worker.js", "serviceworker.js"];
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(extension, "html" | "htm" | "xhtml" | "webmanifest")
        || name.ends_with("manifest.json")
        || name == "config.json"
        || WORKERS.contains(&name)
}

/// Whether the name is `stem.HASH.ext` or `stem-HASH.ext` (with any further extensions, as in `.js.map`).
fn holds_hash(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    let mut parts = name.split('.');
    let stem = parts.next().unwrap_or_default();
    let last = name.rsplit('.').next().unwrap_or_default();
    let dotted = parts.any(|part| part.len() != last.len() && is_hash(part));
    dotted || (name.contains('.') && stem.rsplit_once('-').is_some_and(|(_, part)| is_hash(part)))
}

/// Whether `part` is a hash as bundlers write them, and not a word, a number or a date: taking a word for a hash would
/// pin a changing file in browsers for a year, the opposite costs a request in five minutes.
fn is_hash(part: &str) -> bool {
    if part.len() < 8 || part.len() > 128 || !part.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let has = |test: fn(&u8) -> bool| part.as_bytes().iter().any(test);
    let (digit, lower, upper) = (has(u8::is_ascii_digit), has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase));
    let hex = part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let base32 = part.len() == 8 && part.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
    digit && ((hex && (lower ^ upper)) || (lower && upper) || (base32 && upper))
}

/// All rules of a site, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Rules {
    types: Vec<(GlobMatcher, String)>,
    cache: Vec<(GlobMatcher, CacheControl)>,
    headers: Vec<(GlobMatcher, String, String)>,
    ignored: Vec<GlobMatcher>,
}

impl Rules {
    /// Adds a content type; `Err` says what is wrong with it.
    pub(super) fn content_type(&mut self, glob: &str, value: &str) -> Result<(), String> {
        HeaderValue::from_str(value).map_err(|_| format!("content type `{value}` is not a header value"))?;
        self.types.push((matcher(glob)?, value.to_owned()));
        Ok(())
    }

    /// Adds a cache rule; `Err` says what is wrong with it.
    pub(super) fn cache(&mut self, rule: &CacheRule) -> Result<(), String> {
        self.cache.push((matcher(&rule.glob)?, rule.cache_control));
        Ok(())
    }

    /// Adds a header rule; `Err` says what is wrong with it.
    pub(super) fn header(&mut self, rule: &HeaderRule) -> Result<(), String> {
        let HeaderRule { glob, name, value } = rule;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))?;
        if HeaderValue::from_str(value).is_err() || !value.is_ascii() {
            return Err(format!("the value of header `{name}` holds something else than visible ASCII"));
        }
        let owned =
            ["content-type", "cache-control", "content-length", "etag", "transfer-encoding", "connection", "date"];
        if owned.contains(&name.as_str()) {
            return Err(format!("header `{name}` is set by the publisher; use a content type or cache rule"));
        }
        self.headers.push((matcher(glob)?, name.as_str().to_owned(), value.clone()));
        Ok(())
    }

    /// Adds a glob of keys to leave out; `Err` says what is wrong with it.
    pub(super) fn ignore(&mut self, glob: &str) -> Result<(), String> {
        self.ignored.push(matcher(glob)?);
        Ok(())
    }

    /// Whether the file or folder is left out.
    pub(super) fn ignores(&self, key: &str) -> bool {
        self.ignored.iter().any(|glob| glob.is_match(key))
    }

    /// `Content-Type`.
    pub(super) fn content_type_of(&self, key: &str) -> String {
        let rule = self.types.iter().find(|(glob, _)| glob.is_match(key));
        rule.map_or_else(|| super::content_type(key).to_owned(), |(_, value)| value.clone())
    }

    /// `Cache-Control`.
    pub(super) fn cache_control_of(&self, key: &str) -> CacheControl {
        let rule = self.cache.iter().find(|(glob, _)| glob.is_match(key));
        rule.map_or_else(|| default_cache_control(key), |(_, value)| *value)
    }

    /// Further headers.
    pub(super) fn headers_of(&self, key: &str) -> impl Iterator<Item = (String, String)> {
        let matching = self.headers.iter().filter(move |(glob, ..)| glob.is_match(key));
        matching.map(|(_, name, value)| (name.clone(), value.clone()))
    }
}

fn matcher(glob: &str) -> Result<GlobMatcher, String> {
    match GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build() {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => Err(format!("glob `{glob}`: {}", error.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_told_from_words_numbers_and_dates() {
        let hashed =
            ["a.4f2a91c0.js", "d/a-4F2A91C0.css", "index-BfSsf1Qb.js", "chunk-4XQZ7RGA.js", "a.4f2a91c0.js.map"];
        for key in hashed {
            assert_eq!(default_cache_control(key), CacheControl::Immutable, "{key}");
        }
        let plain = [
            "jquery.min.js",
            "a-deadbeef.js",
            "report-20240131.pdf",
            "a-polyfill2.js",
            "4f2a91c0",
            "a.b",
            "x.4f2a91c0",
        ];
        for key in plain {
            assert!(matches!(default_cache_control(key), CacheControl::MaxAge { .. }), "{key}");
        }
    }

    #[test]
    fn entry_points_are_asked_about_each_time_even_with_a_hash() {
        for key in ["a/index.html", "page.4f2a91c0.html", "manifest.json", "site.webmanifest", "sw.js", "config.json"] {
            assert_eq!(default_cache_control(key), CacheControl::Revalidate, "{key}");
        }
    }

    #[test]
    fn the_first_cache_rule_and_the_last_header_count() {
        let mut rules = Rules::default();
        rules.cache(&CacheRule::new("assets/**", CacheControl::Immutable)).unwrap();
        rules.cache(&CacheRule::new("**", CacheControl::NoStore)).unwrap();
        rules.header(&HeaderRule::new("**/*.html", "X-Frame-Options", "DENY")).unwrap();
        rules.header(&HeaderRule::new("*.html", "x-frame-options", "SAMEORIGIN")).unwrap();
        assert_eq!(rules.cache_control_of("assets/a/b.js"), CacheControl::Immutable);
        assert_eq!(rules.cache_control_of("b.js"), CacheControl::NoStore);
        let headers: Vec<_> = rules.headers_of("index.html").map(|(_, value)| value).collect();
        assert_eq!(headers, ["DENY", "SAMEORIGIN"]);
        assert_eq!(rules.headers_of("d/index.html").count(), 1);
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_named() {
        let mut rules = Rules::default();
        assert!(rules.ignore("a[").unwrap_err().contains("a["));
        assert!(rules.header(&HeaderRule::new("*", "Cache-Control", "x")).unwrap_err().contains("cache rule"));
        assert!(rules.header(&HeaderRule::new("*", "a b", "x")).unwrap_err().contains("a b"));
        assert!(rules.header(&HeaderRule::new("*", "a", "x\ny")).unwrap_err().contains("`a`"));
    }
}
