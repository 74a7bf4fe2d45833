//! Keys of published objects: which are refused, how they look in a URL, which would collide.

use std::{borrow::Cow, fmt::Write as _};

use icu_normalizer::ComposingNormalizerBorrowed;

/// S3's limit, the smallest of the stores in use.
const LONGEST: usize = 1024;

/// What `CloudFront` wants encoded, beside what is not visible.
const UNSAFE: &[u8] = b"\"#%<>[\\]^`{|}";
/// What names no object in a path that caches shall forget: `~` and, as some report, `@` are refused as they are, and not
/// recognized if they are encoded; `*` is a wildcard, `?` begins a query.
const UNKNOWN: [char; 4] = ['~', '@', '*', '?'];

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

/// What two keys have in common that differ only in case, or in how they write an accent.
pub(super) fn folded(key: &str) -> String {
    composed(key).chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// What tells two keys apart that have the same [`folded`] form.
pub(super) fn clash(one: &str, other: &str) -> String {
    match composed(one) == composed(other) {
        // They look the same.
        true => format!(
            "`{}` and `{}` differ only in how Unicode writes the same letters",
            one.escape_default(),
            other.escape_default()
        ),
        false => format!("`{one}` and `{other}` differ only in case"),
    }
}

fn composed(key: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(key)
}

/// The path by which caches know `key`, with `/` before it. Where they know it by none, the beginning of its path and `*`.
///
/// As `CloudFront` has it: what is not ASCII or unsafe by RFC 1738 is encoded, and nothing else, as a path that is encoded
/// further names no object
/// (<https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/invalidation-specifying-objects.html>).
///
/// ```
/// assert_eq!(ecolaura_deploy_core::cdn::cached_path("a b/about(1).html"), "/a%20b/about(1).html");
/// ```
pub fn cached_path(key: &str) -> String {
    let known = key.split(UNKNOWN).next().unwrap_or_default();
    let mut path = String::with_capacity(known.len() + 2);
    path.push('/');
    for byte in known.bytes() {
        match byte {
            b'!'..=b'}' if !UNSAFE.contains(&byte) => path.push(char::from(byte)),
            _ => _ = write!(path, "%{byte:02X}"),
        }
    }
    if known.len() < key.len() {
        path.push('*');
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
    fn folding_sees_through_case_and_the_form_of_accents_only() {
        assert_eq!(folded("Straße/A"), folded("STRASSE/a"));
        assert_eq!(folded("u\u{308}.html"), folded("\u{dc}.html"));
        assert_ne!(folded("a"), folded("ä"));
    }

    #[test]
    fn paths_that_caches_know_are_encoded_where_they_have_to_be_and_nowhere_else() {
        assert_eq!(cached_path("a b/ü[1].js"), "/a%20b/%C3%BC%5B1%5D.js");
        for plain in ["about(1).html", "a!b$c&d'e.html", "x;y:z,w=v+1.txt", "A-Z_0.9/b"] {
            assert_eq!(cached_path(plain), format!("/{plain}"));
        }
        assert_eq!(cached_path("\"#%<>[\\]^`{|}\x7f"), "/%22%23%25%3C%3E%5B%5C%5D%5E%60%7B%7C%7D%7F");
    }

    #[test]
    fn what_caches_know_by_no_path_is_forgotten_with_all_that_begins_alike() {
        let paths =
            ["d/runtime~main.js", "ü/logo@2x.png", "a/b*.js", "what?.html", "~user/index.html"].map(cached_path);
        assert_eq!(paths, ["/d/runtime*", "/%C3%BC/logo*", "/a/b*", "/what*", "/*"]);
    }
}
