//! What of a secret value is a secret by itself.

/// `value`, and the parts of it that others may show alone: lines, since output arrives line by line; what an
/// assignment assigns; the password in an address; what stands behind a user or an authorization scheme; texts of JSON.
pub(super) fn of(value: &str) -> Vec<String> {
    let value = value.trim();
    let mut parts = vec![value.to_owned()];
    for line in value.lines().map(str::trim) {
        parts.push(line.to_owned());
        parts.extend(line.split_once(['=', ':']).map(|(_, assigned)| bare(assigned)));
        parts.extend(["Bearer ", "Basic "].iter().filter_map(|scheme| Some(bare(line.split_once(scheme)?.1))));
        if let Some(password) = password(line) {
            parts.push(decoded(password));
            parts.push(password.to_owned());
        }
    }
    if let Ok(json) = serde_json::from_str(value) {
        texts(&json, &mut parts);
    }
    parts
}

/// Without the quotes and commas around it.
fn bare(text: &str) -> String {
    text.trim_matches(|character: char| character.is_whitespace() || "\"',;".contains(character)).to_owned()
}

/// The password in `scheme://user:password@host`.
fn password(text: &str) -> Option<&str> {
    let authority = text.split_once("://")?.1.split(['/', '?', '#']).next()?;
    Some(authority.rsplit_once('@')?.0.split_once(':')?.1)
}

/// Without percent-encoding.
fn decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(&piece.as_bytes()[2..]);
            }
            None => bytes.extend(format!("%{piece}").as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn texts(json: &serde_json::Value, parts: &mut Vec<String>) {
    use serde_json::Value;
    match json {
        Value::String(text) => parts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, parts)),
        Value::Object(values) => values.values().for_each(|value| texts(value, parts)),
        _ => {}
    }
}
