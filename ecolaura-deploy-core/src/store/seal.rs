//! The form of everything that is stored: one JSON object of one line whose last member, `checksum`, is the SHA-256
//! over everything before its comma.
//!
//! People can read it without this program, `sha256sum` can check it, and no cut or changed byte goes unnoticed.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, ErrorKind, Result, vocabulary::Digest};

const CHECKSUM: &str = ",\"checksum\":\"";

/// The version that a stored line says it has, whatever else it holds.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// The line that is stored for `value`, a structure with at least one member, and its checksum.
pub(crate) fn seal<T: Serialize>(value: &T) -> Result<(Vec<u8>, Digest)> {
    let mut line = Vec::with_capacity(768);
    serde_json::to_writer(&mut line, value)
        .map_err(|error| Error::internal("store.record", "a record cannot be written").with_source(error))?;
    line.pop();
    let checksum = Digest::of(&line);
    line.extend_from_slice(CHECKSUM.as_bytes());
    line.extend_from_slice(checksum.to_string().as_bytes());
    line.extend_from_slice(b"\"}\n");
    Ok((line, checksum))
}

/// Reads and checks a stored line of which this program knows the form up to version `schema`. Fails with
/// [`ErrorKind::Corrupt`] naming key and bytes, and with [`ErrorKind::Unsupported`] naming both versions when it is of a
/// newer form.
pub(crate) fn open<T: DeserializeOwned>(key: &str, line: &[u8], schema: u32) -> Result<(T, Digest)> {
    let corrupt = |what: String| {
        Error::new(ErrorKind::Corrupt, "store.read", format!("record `{key}`, bytes 0..{}: {what}", line.len()))
            .advice("restore the file from a copy; nothing was changed")
    };
    let text = std::str::from_utf8(line).map_err(|error| corrupt(format!("not UTF-8: {error}")))?;
    let found = serde_json::from_str::<Version>(text).ok().map(|version| version.schema);
    if let Some(found) = found.filter(|found| *found > schema) {
        let message = format!("record `{key}` has schema {found}, this program knows {schema}");
        return Err(Error::new(ErrorKind::Unsupported, "store.read", message).advice("use a newer program"));
    }
    let (body, tail) = text.rsplit_once(CHECKSUM).ok_or_else(|| corrupt("it ends before its checksum".into()))?;
    let stored: Digest = tail
        .strip_suffix("\"}\n")
        .and_then(|digest| digest.parse().ok())
        .ok_or_else(|| corrupt("its checksum is damaged".into()))?;
    let actual = Digest::of(body);
    if stored != actual {
        return Err(corrupt(format!("its checksum says {stored}, its content {actual}")));
    }
    let value = serde_json::from_str(&format!("{body}}}"))
        .map_err(|error| corrupt(format!("it is whole but cannot be read: {error}")))?;
    Ok((value, stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        schema: u32,
        text: String,
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_found() {
        let note = Note { schema: 2, text: "says \",\"checksum\":\"x\" itself".to_owned() };
        let (line, checksum) = seal(&note).unwrap();
        assert_eq!(open::<Note>("k", &line, 2).unwrap(), (note, checksum));
        for place in 0..line.len() {
            let mut damaged = line.clone();
            damaged[place] ^= 1;
            let error = open::<Note>("k", &damaged, 2).unwrap_err();
            assert!(error.report().contains("`k`"), "byte {place}: {}", error.report());
            assert!(open::<Note>("k", &line[..place], 2).is_err(), "cut at {place}");
        }
        let error = open::<Note>("k", &line, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("schema 2") && error.message().contains("knows 1"), "{}", error.message());
    }
}
