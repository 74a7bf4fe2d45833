//! Keys of published objects: which are refused, how they look in a URL, which would collide.

use std::fmt::Write as _;

/// S3's limit, the smallest of the stores in use.
const LONGEST: usize = 1024;

/// Why `key` cannot be published, if it cannot.
pub(super) fn refusal(key: &str) -> Option<&'static str> {
    if key.len() > LONGEST {
        return Some("the key is longer than 1024 bytes");
    }
    if key.chars().any(char::is_control) {
        return Some("the name holds a control character");
    }
    if key.contains('\\') {
        return Some("the name holds a backslash");
    }
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("a key is a relative path without empty parts, `.` and `..`");
    }
    None
}

/// What two keys have in common that differ only in case.
pub(super) fn folded(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// `key` as the path of a URL, with `/` before it. `*` is encoded too: a bare one is a wildcard to caches.
pub(super) fn url_path(key: &str) -> String {
    let mut path = String::with_capacity(key.len() + 1);
    path.push('/');
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'@' | b'+' | b',' | b'=' => {
                path.push(char::from(byte));
            }
            _ => _ = write!(path, "%{byte:02X}"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_leave_the_folder_or_hide_something_are_refused() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\nb", "a\0", "a\\b", &"a".repeat(1025)] {
            assert!(refusal(bad).is_some(), "{bad:?}");
        }
        for good in ["a", "a/b.c", "ünï/ß", "a b*?"] {
            assert!(refusal(good).is_none(), "{good:?}");
        }
    }

    #[test]
    fn folding_sees_through_case_only() {
        assert_eq!(folded("Straße/A"), folded("STRASSE/a"));
        assert_ne!(folded("a"), folded("ä"));
    }

    #[test]
    fn url_paths_hold_no_wildcard_and_no_space() {
        assert_eq!(url_path("a b/ü*.js"), "/a%20b/%C3%BC%2A.js");
    }
}
