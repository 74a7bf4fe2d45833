//! The ways in which a value is written.

use std::fmt::Write as _;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `value` as it is and in every encoding; some may be equal or empty.
pub(super) fn of(value: &str) -> Vec<String> {
    let mut forms = vec![
        value.to_owned(),
        json(value, false),
        json(value, true),
        url(value, true, "%20"),
        url(value, false, "%20"),
        url(value, true, "+"),
        url(value, false, "+"),
    ];
    for shift in 0..3 {
        let core = base64_core(value.as_bytes(), shift);
        forms.push(core.replace('+', "-").replace('/', "_"));
        forms.push(core);
    }
    forms
}

/// As inside the quotes of a JSON string; `ascii` escapes everything else too.
fn json(value: &str, ascii: bool) -> String {
    let quoted = serde_json::to_string(value).unwrap_or_default();
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let mut text = String::with_capacity(inner.len());
    for character in inner.chars() {
        if ascii && !character.is_ascii() {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(character);
        }
    }
    text
}

/// Percent-encoded, all but RFC 3986's unreserved characters.
fn url(value: &str, upper: bool, space: &str) -> String {
    let mut text = String::with_capacity(value.len() * 2);
    for byte in value.bytes() {
        let _ = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => write!(text, "{}", char::from(byte)),
            b' ' => write!(text, "{space}"),
            _ if upper => write!(text, "%{byte:02X}"),
            _ => write!(text, "%{byte:02x}"),
        };
    }
    text
}

/// The characters of the base64 of a longer text that depend on `value` alone, when it begins `shift` bytes after a
/// multiple of three.
fn base64_core(value: &[u8], shift: usize) -> String {
    let mut shifted = vec![0; shift];
    shifted.extend_from_slice(value);
    let whole = shifted.len() * 8 / 6;
    let first = (shift * 8).div_ceil(6);
    base64(&shifted).get(first..whole).unwrap_or_default().to_owned()
}

/// The standard alphabet, padded.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let sextet = (group >> (18 - 6 * place) & 63) as usize;
            text.push(if place > chunk.len() { '=' } else { char::from(STANDARD[sextet]) });
        }
    }
    text
}
