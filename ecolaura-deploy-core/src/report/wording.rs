//! How durations, amounts, effects and foreign text are put for people.

use std::{iter::Peekable, str::Chars, time::Duration};

#[cfg(feature = "terminal")]
use super::Progress;
use crate::{Effect, ErrorRecord};

const LONGEST_LINE: usize = 2_000;

/// `300 ms`, `1.2 s`, `2 min 5 s`, `1 h 2 min`, `2 d 3 h`.
pub(crate) fn duration(time: Duration) -> String {
    let millis = time.as_millis();
    let tenths = (millis + 50) / 100;
    let seconds = (millis + 500) / 1_000;
    match (millis, seconds) {
        (..1_000, _) => format!("{millis} ms"),
        _ if tenths < 600 => format!("{}.{} s", tenths / 10, tenths % 10),
        (_, ..3_600) => pair(seconds / 60, "min", seconds % 60, "s"),
        (_, ..86_400) => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn pair(large: u128, large_unit: &str, small: u128, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// `1 step`, `2 steps`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// `12.3 of 40.0 MiB`, `3 of 10 files`, `3 pods`.
#[cfg(feature = "terminal")]
pub(super) fn progress(progress: &Progress) -> String {
    let Progress { unit, done, total } = progress;
    if unit == "bytes" {
        return bytes(*done, *total);
    }
    match total {
        Some(total) => format!("{done} of {total} {unit}"),
        None => format!("{done} {unit}"),
    }
}

/// `512 B`, `1.5 MiB`.
pub(crate) fn size(number: u64) -> String {
    bytes(number, None)
}

fn bytes(done: u64, total: Option<u64>) -> String {
    let most = total.unwrap_or(done);
    let (unit, divisor) = match most {
        0..0x400 => ("B", 1),
        0x400..0x10_0000 => ("KiB", 0x400),
        0x10_0000..0x4000_0000 => ("MiB", 0x10_0000),
        _ => ("GiB", 0x4000_0000),
    };
    let scaled = |n: u64| match divisor {
        1 => n.to_string(),
        _ => format!("{}.{}", n / divisor, n % divisor * 10 / divisor),
    };
    match total {
        Some(total) => format!("{} of {} {unit}", scaled(done), scaled(total)),
        None => format!("{} {unit}", scaled(done)),
    }
}

/// What is known of an effect, as the end of a sentence.
pub(super) fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "nothing was changed",
        Effect::Partial => "some of it was done",
        Effect::Complete => "all of it was done before it failed",
        Effect::Unknown => "it is not known whether it took effect",
    }
}

/// `text` without what would move a cursor, change colours, reorder or hide other text. Lines stay apart; of a line
/// that was written over with carriage returns, the last state stays.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut line_start = 0;
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_escape(&mut chars),
            '\n' => {
                clean.push('\n');
                line_start = clean.len();
            }
            '\r' if !matches!(chars.peek(), None | Some('\n' | '\r')) => clean.truncate(line_start),
            '\t' => clean.push_str("    "),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            char if char.is_control() => {}
            char => clean.push(char),
        }
    }
    clean
}

fn skip_escape(chars: &mut Peekable<Chars<'_>>) {
    match chars.next() {
        Some('[') => while chars.next().is_some_and(|char| !('@'..='~').contains(&char)) {},
        Some(']') => {
            while let Some(char) = chars.next() {
                if char == '\u{7}' || (char == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        _ => {}
    }
}

/// [`clean`], in one line and without spaces at its end.
pub(super) fn one_line(text: &str) -> String {
    let clean = clean(text);
    clean.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A line of foreign output: clean, its indentation kept, its length bounded.
pub(super) fn output_line(text: &str) -> String {
    let clean = clean(text).replace('\n', " ");
    let clean = clean.trim_end();
    match clean.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean.to_owned(),
    }
}

/// The same error with clean text.
pub(super) fn clean_error(error: &ErrorRecord) -> ErrorRecord {
    ErrorRecord { message: clean(&error.message), advice: error.advice.as_deref().map(clean), ..error.clone() }
}

/// How many columns `text` takes, on the usual assumption of one for each character.
pub(super) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// `text` in lines of at most `width` columns, broken between words; a longer word has a line to itself.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n').filter(|paragraph| !paragraph.trim().is_empty()) {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// At most `most` of `lines`; if some are left out, the last one kept ends in `…`.
pub(super) fn at_most(mut lines: Vec<String>, most: usize) -> Vec<String> {
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            last.push_str(" …");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (millis, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (1_249, "1.2 s"),
            (59_949, "59.9 s"),
            (59_950, "1 min"),
            (125_400, "2 min 5 s"),
            (3_599_600, "1 h"),
            (3_725_000, "1 h 2 min"),
            (183_600_000, "2 d 3 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text, "{millis}");
        }
    }

    #[cfg(feature = "terminal")]
    #[test]
    fn amounts_read_well() {
        let text = |unit: &str, done, total| progress(&Progress { unit: unit.into(), done, total });
        assert_eq!(text("bytes", 13_002_342, Some(41_943_040)), "12.3 of 40.0 MiB");
        assert_eq!(text("bytes", 512, None), "512 B");
        assert_eq!(text("files", 3, Some(10)), "3 of 10 files");
        assert_eq!(text("pods", 3, None), "3 pods");
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(clean("\u{1b}[1;31mred\u{1b}[0m \u{1b}]0;title\u{7}a\tb\u{8}"), "red a    b");
        assert_eq!(clean("10 %\r50 %\r100 %\r\nnext\r"), "100 %\nnext");
        assert_eq!(clean("a\u{202e}b\u{1b}"), "ab");
        assert_eq!(output_line(&"x".repeat(3_000)).chars().count(), LONGEST_LINE + 1);
    }

    #[test]
    fn wrapping_breaks_between_words_only() {
        assert_eq!(wrap("one two three-four-five six", 8), ["one two", "three-four-five", "six"]);
        assert_eq!(at_most(wrap("one two three", 4), 2), ["one", "two …"]);
    }
}
