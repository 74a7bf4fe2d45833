//! `Cache-Control` response directives (RFC 9111 §5.2.2, RFC 8246 for `immutable`).

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// How long and by whom a published object may be kept.
///
/// ```
/// use ecolaura_deploy_core::vocabulary::CacheControl;
/// assert_eq!(CacheControl::Immutable.to_string(), "public, max-age=31536000, immutable");
/// assert_eq!(CacheControl::Revalidate.to_string(), "no-cache");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CacheControl {
    /// For a name that holds a hash of the content: a year, never asked again.
    Immutable,
    /// May be kept, must be asked about each time.
    Revalidate,
    /// May not be kept.
    NoStore,
    /// May be used for this long without asking; the second time is the shared caches' own.
    MaxAge {
        /// For browsers.
        browser: Duration,
        /// For the CDN (`s-maxage`), if another time.
        shared: Option<Duration>,
    },
}

impl fmt::Display for CacheControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Immutable => f.write_str("public, max-age=31536000, immutable"),
            Self::Revalidate => f.write_str("no-cache"),
            Self::NoStore => f.write_str("no-store"),
            Self::MaxAge { browser, shared } => {
                write!(f, "public, max-age={}", browser.as_secs())?;
                match shared {
                    Some(shared) => write!(f, ", s-maxage={}", shared.as_secs()),
                    None => Ok(()),
                }
            }
        }
    }
}
