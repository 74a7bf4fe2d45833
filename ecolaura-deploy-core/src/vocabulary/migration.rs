//! Versions and checksums of database migrations.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::ParseError;

/// The version of a migration: the number at the start of its file's name. 0 is the empty schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MigrationVersion(pub i64);

impl FromStr for MigrationVersion {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fail = |position, expected| ParseError::new("migration version", text, position, expected);
        if let Some(position) = text.bytes().position(|byte| !byte.is_ascii_digit()) {
            return Err(fail(position, "a digit"));
        }
        text.parse().map(Self).map_err(|_| fail(text.len(), "1 to 18 digits"))
    }
}

impl fmt::Display for MigrationVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The checksum of a migration's SQL as the ledger holds it (sqlx: SHA-384 of the file).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MigrationChecksum(Vec<u8>);

impl MigrationChecksum {
    /// A checksum of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for MigrationChecksum {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        match hex::decode(&text) {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => {
                let position = text.bytes().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(text.len());
                Err(ParseError::new("migration checksum", &text, position, "pairs of hexadecimal digits"))
            }
        }
    }
}

impl From<MigrationChecksum> for String {
    fn from(checksum: MigrationChecksum) -> Self {
        checksum.to_string()
    }
}

impl fmt::Display for MigrationChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for MigrationChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
