//! Bytes as lines, whatever a container prints.

use std::io;

use tokio_util::{bytes::BytesMut, codec::Decoder};

/// The longest line that is handed on, in bytes.
const LONGEST: usize = 64 * 1024;

/// Lines, with a note in place of one that is too long, and of what is no UTF-8 as much as can be shown.
#[derive(Debug, Default)]
pub(super) struct Lossy {
    /// Whether this is the rest of a line that was too long.
    skipping: bool,
}

impl Decoder for Lossy {
    type Item = String;
    type Error = io::Error;

    fn decode(&mut self, read: &mut BytesMut) -> io::Result<Option<String>> {
        loop {
            let Some(end) = read.iter().position(|byte| *byte == b'\n') else { return Ok(self.too_long(read)) };
            let line = read.split_to(end + 1);
            if !std::mem::take(&mut self.skipping) {
                return Ok(Some(if end > LONGEST { note() } else { text(&line[..end]) }));
            }
        }
    }

    fn decode_eof(&mut self, read: &mut BytesMut) -> io::Result<Option<String>> {
        if let Some(line) = self.decode(read)? {
            return Ok(Some(line));
        }
        let rest = read.split();
        Ok((!rest.is_empty() && !self.skipping).then(|| text(&rest)))
    }
}

impl Lossy {
    fn too_long(&mut self, read: &mut BytesMut) -> Option<String> {
        if read.len() <= LONGEST {
            return None;
        }
        read.clear();
        (!std::mem::replace(&mut self.skipping, true)).then(note)
    }
}

fn note() -> String {
    format!("[a line of more than {} KiB is left out]", LONGEST / 1024)
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `chunks`, which come one after the other.
    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (mut codec, mut buffer, mut lines) = (Lossy::default(), BytesMut::new(), Vec::new());
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            lines.extend(std::iter::from_fn(|| codec.decode(&mut buffer).unwrap()));
        }
        lines.extend(std::iter::from_fn(|| codec.decode_eof(&mut buffer).unwrap()));
        lines
    }

    #[test]
    fn anything_becomes_lines() {
        assert_eq!(lines(&[b"on", b"e\r\ntw", b"o\n\nrest"]), ["one", "two", "", "rest"]);
        assert_eq!(lines(&[b"\xff\xfeok\n"]), ["\u{fffd}\u{fffd}ok"]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let much = vec![b'x'; LONGEST];
        assert_eq!(lines(&[b"a\n", &much, &much, &much, b"x\nb\n"]), ["a".to_owned(), note(), "b".to_owned()]);
        assert_eq!(lines(&[&much, b"x"]), [note()]);
        assert_eq!(lines(&[&much]), [String::from_utf8(much.clone()).unwrap()]);
    }
}
