//! SHA-256 digests of content, and fingerprints of inputs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ParseError;

/// A SHA-256 digest in OCI's form, `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `content`.
    pub fn of(content: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(content.as_ref()).into())
    }

    /// The 64 hexadecimal digits without the algorithm.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// The first 12 hexadecimal digits, for people.
    pub fn short(self) -> String {
        hex::encode(&self.0[..6])
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fail = |position, expected| Err(ParseError::new("digest", text, position, expected));
        let Some(digits) = text.strip_prefix("sha256:") else { return fail(0, "`sha256:`") };
        if let Some(position) = digits.bytes().position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return fail(7 + position, "a lower-case hexadecimal digit");
        }
        let mut bytes = [0; 32];
        match hex::decode_to_slice(digits, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => fail(text.len().min(71), "64 hexadecimal digits in all"),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str("sha256:")?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A digest made piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `bytes` as they are.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    /// Adds `bytes` with their length before them, so that two neighbours cannot be read as other two.
    pub fn field(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// What identifies a step's inputs: equal fingerprints mean that doing it again would give the same result.
///
/// The parts are kept by name (a file's path, an argument), so that what changed can be named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(std::collections::BTreeMap<String, Digest>);

impl Fingerprint {
    /// One without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the part `name` with `content`'s digest.
    pub fn part(mut self, name: impl Into<String>, content: impl AsRef<[u8]>) -> Self {
        self.0.insert(name.into(), Digest::of(content));
        self
    }

    /// Adds the part `name`, whose digest is known.
    pub fn digest_part(mut self, name: impl Into<String>, digest: Digest) -> Self {
        self.0.insert(name.into(), digest);
        self
    }

    /// The digest over all parts.
    pub fn digest(&self) -> Digest {
        let mut digester = Digester::new();
        for (name, digest) in &self.0 {
            digester.field(name).field(digest.as_bytes());
        }
        digester.finish()
    }

    /// The names of the parts that differ between `self` and `other`, sorted.
    pub fn differences<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self
            .0
            .iter()
            .filter(|(name, digest)| other.0.get(*name) != Some(digest))
            .map(|(name, _)| name.as_str())
            .chain(other.0.keys().filter(|name| !self.0.contains_key(*name)).map(String::as_str))
            .collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_name_the_wrong_byte() {
        let good = Digest::of("x").to_string();
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        for (text, position) in [("md5:00", 0), ("sha256:0G", 8), ("sha256:00", 9)] {
            assert_eq!(text.parse::<Digest>().unwrap_err().position, position, "{text}");
        }
        assert_eq!(format!("{good}00").parse::<Digest>().unwrap_err().position, 71);
    }

    #[test]
    fn fingerprints_name_what_changed() {
        let old = Fingerprint::new().part("a", "1").part("b", "2");
        let new = Fingerprint::new().part("b", "3").part("c", "4");
        assert_eq!(old.differences(&new), ["a", "b", "c"]);
        assert_ne!(old.digest(), new.digest());
    }
}
