//! Names of environments, services, stores and other things of ours: the grammar of a DNS label.

use serde::{Deserialize, Serialize};

use super::parse::text_newtype;

/// RFC 1123's label: 1 to 63 of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit.
fn check_label(text: &str) -> Result<(), (usize, &'static str)> {
    const EXPECTED: &str = "a lower-case letter, a digit, or `-` between them";
    if text.is_empty() {
        return Err((0, "a lower-case letter or a digit"));
    }
    for (position, byte) in text.bytes().enumerate() {
        let edge = position == 0 || position + 1 == text.len();
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => {}
            b'-' if !edge => {}
            _ => return Err((position, EXPECTED)),
        }
    }
    if text.len() > 63 { Err((63, "the end: at most 63 characters")) } else { Ok(()) }
}

macro_rules! label {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);
        text_newtype!($type, $what, check_label);
    };
}

label! {
    /// The name of a backend, a pipeline, a group, a store.
    ///
    /// ```
    /// use ecolaura_deploy_core::vocabulary::Name;
    /// let error = "Registry".parse::<Name>().unwrap_err();
    /// assert_eq!(error.position, 0);
    /// ```
    Name, "name"
}
label! {
    /// The name of an environment: `dev`, `staging`, `production`.
    EnvironmentName, "environment name"
}
label! {
    /// The name of a service of the platform: `backend`.
    ServiceName, "service name"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_grammar() {
        for (text, position) in [("", 0), ("-a", 0), ("a-", 1), ("a_b", 1), ("aB", 1), (&"a".repeat(64), 63)] {
            assert_eq!(Name::new(text).unwrap_err().position, position, "{text}");
        }
        assert!(Name::new("a".repeat(63)).is_ok());
        assert!(serde_json::from_str::<Name>("\"A\"").is_err());
    }
}
