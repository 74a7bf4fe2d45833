//! What every parser of this crate answers when it refuses.

use crate::{Error, ErrorKind};

/// A text that does not follow its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{input}` is not a valid {what}: at byte {position}, expected {expected}")]
#[non_exhaustive]
pub struct ParseError {
    /// What was being read, such as `image reference`.
    pub what: &'static str,
    /// The whole input.
    pub input: String,
    /// The byte offset of the first wrong character; the input's length when it ends too early.
    pub position: usize,
    /// What the grammar allows there.
    pub expected: &'static str,
}

impl ParseError {
    /// A refusal of `input` at `position`.
    pub fn new(what: &'static str, input: &str, position: usize, expected: &'static str) -> Self {
        Self { what, input: input.to_owned(), position, expected }
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::new(ErrorKind::InvalidInput, "parse", error.to_string())
    }
}

/// Implements `FromStr`, `TryFrom<String>`, `Display`, and serde by string for a newtype over `String` whose
/// grammar is a function from the input to the position and expectation of its first fault.
macro_rules! text_newtype {
    ($type:ident, $what:literal, $check:expr) => {
        impl $type {
            /// Checks `text` against the grammar.
            pub fn new(text: impl Into<String>) -> Result<Self, $crate::vocabulary::ParseError> {
                let text = text.into();
                let check: fn(&str) -> Result<(), (usize, &'static str)> = $check;
                match check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err((position, expected)) => {
                        Err($crate::vocabulary::ParseError::new($what, &text, position, expected))
                    }
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::vocabulary::ParseError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::vocabulary::ParseError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use text_newtype;
