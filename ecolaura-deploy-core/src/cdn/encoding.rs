//! Objects that are there in several encodings: their names, and who gets which.

use serde::{Deserialize, Serialize};

/// A way in which content is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Encoding {
    /// Brotli, `br`: the smaller one, for browsers.
    Brotli,
    /// gzip, `gzip`: for everybody else.
    Gzip,
}

impl Encoding {
    /// All, the better ones first.
    pub const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    /// What the name of a variant ends with: `app.js.br` is `app.js` in Brotli.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }

    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Whether `accepted`, the value of an `Accept-Encoding`, allows it (RFC 9110 §12.5.3).
    ///
    /// ```
    /// use ecolaura_deploy_core::cdn::Encoding;
    /// assert!(Encoding::Gzip.is_accepted("br;q=0, gzip") && !Encoding::Brotli.is_accepted("br;q=0, gzip"));
    /// ```
    pub fn is_accepted(self, accepted: &str) -> bool {
        let mut by_any = false;
        for offer in accepted.split(',') {
            let mut parts = offer.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused = parts.any(|part| {
                let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
                weight.and_then(|weight| weight.parse::<f32>().ok()).is_some_and(|weight| weight <= 0.0)
            });
            if name.eq_ignore_ascii_case(self.token()) {
                return !refused;
            }
            by_any |= name == "*" && !refused;
        }
        by_any
    }
}

/// The key whose variant `key` would be by its name, and the encoding.
///
/// ```
/// use ecolaura_deploy_core::cdn::{Encoding, variant_of};
/// assert_eq!(variant_of("app.js.br"), Some(("app.js", Encoding::Brotli)));
/// assert_eq!(variant_of("app.js"), None);
/// ```
pub fn variant_of(key: &str) -> Option<(&str, Encoding)> {
    let named = |encoding: Encoding| Some((key.strip_suffix(encoding.suffix())?, encoding));
    Encoding::ALL.into_iter().find_map(named).filter(|(original, _)| !original.is_empty() && !original.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_accepts_is_read_as_the_rfc_has_it() {
        let accepts = |value| Encoding::ALL.map(|encoding| encoding.is_accepted(value));
        assert_eq!(accepts("gzip, deflate, br, zstd"), [true, true]);
        assert_eq!(accepts("GZIP"), [false, true]);
        assert_eq!(accepts("br;q=1.0, gzip;q=0.000"), [true, false]);
        assert_eq!(accepts("*"), [true, true]);
        assert_eq!(accepts("*, br;q=0"), [false, true]);
        assert_eq!(accepts("*;q=0"), [false, false]);
        for none in ["", "identity", "brotli", "x-gzip2"] {
            assert_eq!(accepts(none), [false, false], "{none}");
        }
    }

    #[test]
    fn a_suffix_alone_is_no_variant() {
        assert_eq!(variant_of(".br"), None);
        assert_eq!(variant_of("a/.gz"), None);
        assert_eq!(variant_of("a.tar.gz"), Some(("a.tar", Encoding::Gzip)));
    }
}
