//! Taking secret values out of text before it leaves: commands' output, errors, evidence.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use crate::Secret;

mod forms;
mod parts;
mod told;

/// What stands in the place of a value.
const MARK: &str = "[redacted]";

/// Whether a variable, a key or a field of this name is taken for a secret, whatever it holds.
///
/// ```
/// use ecolaura_deploy_core::redact::is_named_like_a_secret;
/// assert!(is_named_like_a_secret("databasePassword") && !is_named_like_a_secret("GREETING"));
/// ```
pub fn is_named_like_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["PASSW", "SECRET", "TOKEN", "CREDENTIAL", "_KEY"].iter().any(|part| name.contains(part))
}

/// Knows secret values and takes them out of text, also where they are written in base64 (at any alignment, so
/// inside a `Basic` header too), URL-encoded or escaped for JSON. Clones share what they know.
///
/// A run takes out of its events, its records and its result what the [`Context`](crate::Context)'s redactor knows; the
/// secret stores of this crate tell it each value that they hand out.
///
/// Forms shorter than [`Redactor::SHORTEST`] bytes are left alone: they would blot out ordinary words.
///
/// ```
/// use ecolaura_deploy_core::{Secret, redact::Redactor};
/// let redactor = Redactor::new();
/// assert!(redactor.register(&Secret::new("correct horse".to_owned())));
/// assert_eq!(redactor.redact("login with correct horse"), "login with [redacted]");
/// assert_eq!(redactor.redact("?password=correct%20horse&x=1"), "?password=[redacted]&x=1");
/// ```
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<BTreeSet<String>>>);

impl Redactor {
    /// The shortest form that is taken out, in bytes.
    pub const SHORTEST: usize = 8;

    /// One that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns `value`, and the parts of it that others may show alone: its lines, what an assignment assigns, the
    /// password in an address, the texts of a JSON document. Idempotent. Answers whether the value will be taken out:
    /// `false` says that it is too short for that.
    pub fn register(&self, value: &Secret<String>) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for part in parts::of(value.expose()) {
            known.extend(forms::of(&part).into_iter().filter(|form| form.len() >= Self::SHORTEST));
        }
        value.expose().trim().len() >= Self::SHORTEST
    }

    /// `text` without what was registered.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = merge(known.iter().flat_map(|form| occurrences(text, form)).collect());
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut clean = String::with_capacity(text.len());
        let mut from = 0;
        for (start, end) in found {
            clean.push_str(&text[from..start]);
            clean.push_str(MARK);
            from = end;
        }
        clean.push_str(&text[from..]);
        Cow::Owned(clean)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// Every place of `form`, overlapping ones too.
fn occurrences<'a>(text: &'a str, form: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    let step = form.chars().next().map_or(1, char::len_utf8);
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text.get(from..)?.find(form)?;
        from = start + step;
        Some((start, start + form.len()))
    })
}

/// The ranges in order, those that touch or overlap as one.
fn merge(mut ranges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    ranges.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        let redactor = Redactor::new();
        for value in values {
            redactor.register(&Secret::new((*value).to_owned()));
        }
        redactor
    }

    #[test]
    fn every_written_form_is_taken_out() {
        let redactor = redactor(&["p\"ss/wörd+42?x"]);
        for (text, clean) in [
            ("a p\"ss/wörd+42?x b", "a [redacted] b"),
            (r#"{"k":"p\"ss/wörd+42?x"}"#, r#"{"k":"[redacted]"}"#),
            (r#"{"k":"p\"ss/w\u00f6rd+42?x"}"#, r#"{"k":"[redacted]"}"#),
            ("u=p%22ss%2Fw%C3%B6rd%2B42%3Fx;", "u=[redacted];"),
            ("u=p%22ss%2fw%c3%b6rd%2b42%3fx;", "u=[redacted];"),
            ("k: cCJzcy93w7ZyZCs0Mj94", "k: [redacted]"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(redactor.redact(text), clean);
        }
    }

    #[test]
    fn base64_of_a_longer_text_does_not_reveal_the_value() {
        let secret = "hunter2-hunter2";
        let redactor = redactor(&[secret]);
        for user in ["", "u:", "us:", "use:", "user:"] {
            let header = forms::base64(format!("{user}{secret}\n").as_bytes());
            let clean = redactor.redact(&header);
            assert!(clean.contains(MARK), "{user}: {clean}");
            assert!(clean.len() <= header.len() - 16 + MARK.len(), "{user}: {clean}");
        }
    }

    #[test]
    fn lines_overlaps_and_short_values() {
        let key = redactor(&["-----BEGIN KEY-----\nMIIabcdefgh\nijklmnopqr\n"]);
        assert_eq!(key.redact("out: MIIabcdefgh"), "out: [redacted]");
        let overlapping = redactor(&["abcdefgh", "efghijkl"]);
        assert_eq!(overlapping.redact("xabcdefghijklx"), "x[redacted]x");
        assert!(!Redactor::new().register(&Secret::new("short".to_owned())));
        assert_eq!(redactor(&["short"]).redact("a short word"), "a short word");
    }

    #[test]
    fn the_secret_parts_of_a_value_are_taken_out_alone_too() {
        for (value, text, clean) in [
            (
                "postgres://app:p%40ssword-1@db/shop?x=1",
                "no entry for app:p%40ssword-1@",
                "no entry for app:[redacted]@",
            ),
            ("postgres://app:p%40ssword-1@db/shop?x=1", "wrong: p@ssword-1", "wrong: [redacted]"),
            ("[default]\naws_secret_access_key = wJalrXUtnFEMI", "key wJalrXUtnFEMI;", "key [redacted];"),
            ("AKIAEXAMPLE:wJalrXUtnFEMI", "key wJalrXUtnFEMI;", "key [redacted];"),
            ("Authorization: Bearer abc.def.ghi", "token abc.def.ghi", "token [redacted]"),
            ("{\"auths\":[{\"auth\":\"dXNlcjpwYXNz\"}]}", "auth dXNlcjpwYXNz", "auth [redacted]"),
        ] {
            assert_eq!(redactor(&[value]).redact(text), clean, "{value}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        assert!(!format!("{:?}", redactor(&["hunter2-hunter2"])).contains("hunter2"));
    }
}
