//! Image references by the grammar of the OCI distribution specification (v1.1, "Pulling manifests") and of the
//! reference implementation of that grammar, `distribution/reference`.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Digest, ParseError, parse::text_newtype};

/// A repository with an optional registry host: `ecolaura/backend`, `localhost:5000/ecolaura/backend`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository(String);
text_newtype!(Repository, "repository", check_repository);

/// A tag: a letter, digit or `_`, then up to 127 of these, `.` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);
text_newtype!(Tag, "tag", check_tag);

fn check_tag(text: &str) -> Result<(), (usize, &'static str)> {
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => {}
            b'.' | b'-' if position > 0 => {}
            _ => return Err((position, "a letter, a digit, `_`, or after the first `.` or `-`")),
        }
    }
    match text.len() {
        0 => Err((0, "a letter, a digit or `_`")),
        1..=128 => Ok(()),
        _ => Err((128, "the end: at most 128 characters")),
    }
}

fn check_repository(text: &str) -> Result<(), (usize, &'static str)> {
    if text.len() > 255 {
        return Err((255, "the end: at most 255 characters"));
    }
    let mut start = 0;
    for (index, part) in text.split('/').enumerate() {
        let more = start + part.len() < text.len();
        let host = index == 0 && more && (part.contains(['.', ':']) || part == "localhost");
        let checked = if host { check_host(part) } else { check_component(part) };
        checked.map_err(|(position, expected)| (start + position, expected))?;
        start += part.len() + 1;
    }
    Ok(())
}

fn check_host(text: &str) -> Result<(), (usize, &'static str)> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if let Some(position) = host.bytes().position(|byte| !valid(byte)) {
        return Err((position, "a letter, a digit, `.` or `-` of a host name"));
    }
    if host.is_empty() {
        return Err((0, "a host name"));
    }
    match port {
        Some(port) if port.parse::<u16>().is_err() => Err((host.len() + 1, "a port number")),
        _ => Ok(()),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn check_component(text: &str) -> Result<(), (usize, &'static str)> {
    const EXPECTED: &str = "a lower-case letter or a digit, with one `.`, `_`, `__` or any `-` between them";
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let word = at;
        while bytes.get(at).is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            at += 1;
        }
        if at == word {
            return Err((at, EXPECTED));
        }
        at += match &bytes[at..] {
            [] => return Ok(()),
            [b'_', b'_', ..] => 2,
            [b'.' | b'_', ..] => 1,
            [b'-', ..] => bytes[at..].iter().take_while(|byte| **byte == b'-').count(),
            _ => return Err((at, EXPECTED)),
        };
    }
}

/// A reference as a person writes it: a repository, perhaps a tag, perhaps a digest.
///
/// ```
/// use ecolaura_deploy_core::vocabulary::ImageReference;
/// let image: ImageReference = "localhost:5000/ecolaura/backend:v2".parse()?;
/// assert_eq!(image.tag.unwrap().as_str(), "v2");
/// assert_eq!("a/B".parse::<ImageReference>().unwrap_err().position, 2);
/// # Ok::<_, ecolaura_deploy_core::vocabulary::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub struct ImageReference {
    /// The repository.
    pub repository: Repository,
    /// The tag after `:`.
    pub tag: Option<Tag>,
    /// The digest after `@`.
    pub digest: Option<Digest>,
}

impl FromStr for ImageReference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let shift = |offset: usize| {
            move |error: ParseError| ParseError::new("image reference", text, offset + error.position, error.expected)
        };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse().map_err(shift(name.len() + 1))?)),
            None => (text, None),
        };
        let colon = name.rfind(':').filter(|colon| !name[*colon..].contains('/'));
        let (repository, tag) = match colon {
            Some(colon) => (&name[..colon], Some(Tag::new(&name[colon + 1..]).map_err(shift(colon + 1))?)),
            None => (name, None),
        };
        Ok(Self { repository: Repository::new(repository).map_err(shift(0))?, tag, digest })
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// An image in a registry, named by digest: what is deployed, scanned and promoted. It cannot be made from a tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PinnedImage {
    /// The repository.
    pub repository: Repository,
    /// The digest of its manifest or index.
    pub digest: Digest,
}

impl PinnedImage {
    /// The image `digest` in `repository`.
    pub fn new(repository: Repository, digest: Digest) -> Self {
        Self { repository, digest }
    }
}

impl fmt::Display for PinnedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

impl FromStr for PinnedImage {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let reference: ImageReference = text.parse()?;
        match reference.digest {
            Some(digest) => Ok(Self::new(reference.repository, digest)),
            None => Err(ParseError::new("pinned image", text, text.len(), "`@sha256:` and a digest")),
        }
    }
}

/// An operating system and an architecture in OCI's words, `linux/amd64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Platform {
    /// Go's name of the operating system.
    pub os: String,
    /// Go's name of the architecture.
    pub architecture: String,
}

impl Platform {
    /// The platform of `os` and `architecture`.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self { os: os.into(), architecture: architecture.into() }
    }

    /// The platform that this program was compiled for.
    pub fn current() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self::new(std::env::consts::OS, architecture)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

/// An image that was built and lies in an OCI image layout, not yet in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuiltImage {
    /// The folder of the OCI image layout.
    pub layout: PathBuf,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The platform it runs on.
    pub platform: Platform,
    /// The bytes of all its blobs together.
    pub size: u64,
}

impl BuiltImage {
    /// The image `digest` in the layout at `layout`.
    pub fn new(layout: impl Into<PathBuf>, digest: Digest, platform: Platform, size: u64) -> Self {
        Self { layout: layout.into(), digest, platform, size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_parse_and_print() {
        let digest = Digest::of("x");
        for text in ["a", "a/b:v1", "localhost:5000/a/b", "localhost:5000/a__b/c-d:V_1.2-x", "r.io/a.b:1"] {
            let parsed: ImageReference = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            let pinned = format!("{text}@{digest}");
            assert_eq!(pinned.parse::<ImageReference>().unwrap().to_string(), pinned);
        }
    }

    #[test]
    fn bad_references_name_the_position() {
        for (text, position) in
            [("", 0), ("A", 0), ("a//b", 2), ("a/b:", 4), ("a:-x", 2), ("a._b", 2), ("a/b@sha256:x", 11), ("a/", 2)]
        {
            assert_eq!(text.parse::<ImageReference>().unwrap_err().position, position, "{text}");
        }
        assert_eq!("a:v1".parse::<PinnedImage>().unwrap_err().position, 4);
    }
}
