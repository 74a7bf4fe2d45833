//! Secret values and references to them. A value never prints and never enters a record; a reference may.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::vocabulary::Name;

/// A secret value. It has no `Serialize`, and `Debug` and `Display` hide it.
///
/// ```
/// use ecolaura_deploy_core::Secret;
/// let password = Secret::new("hunter2".to_owned());
/// assert_eq!(format!("{password:?}"), "Secret(redacted)");
/// assert_eq!(password.expose(), "hunter2");
/// ```
#[derive(Clone)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one call that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// Where a secret is: the only form in which one crosses steps or enters a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SecretRef {
    /// The store that holds it.
    pub store: Name,
    /// Its name there.
    pub name: String,
    /// Its version there; plans cover this, never a hash of the value.
    pub version: String,
}

impl SecretRef {
    /// A reference to `version` of `name` in `store`.
    pub fn new(store: Name, name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { store, name: name.into(), version: version.into() }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.store, self.name, self.version)
    }
}
