//! One pattern of an ignore file, by the rules of Go's `filepath.Match` with docker's `**`.

use std::iter::Peekable;

/// A part of a pattern, as docker turns it into a regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Letter(char),
    /// `?`: one letter, but no `/`.
    One,
    /// `*`: any letters, but no `/`.
    Some,
    /// Before [`Part::Folders`], which can be left out.
    Maybe,
    /// `**/`: anything that ends with `/`.
    Folders,
    /// `**` at the end.
    Rest,
    /// `[a-z]`, `[^a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// `name` of `**name`, which docker compares with the end of a path.
    end: Option<String>,
}

impl Pattern {
    /// Reads `text`, a path without `.`, `..` and empty parts. Fails with what is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, &'static str> {
        let special = |letter| matches!(letter, '*' | '?' | '[' | ']' | '\\');
        let end = text.strip_prefix("**").filter(|end| !end.is_empty() && !end.starts_with('/'));
        let end = end.filter(|end| !end.contains(special)).map(str::to_owned);
        Ok(Self { parts: parts(text)?, end })
    }

    /// Goes through `path` once, with all places among the parts that it may be at: no pattern takes long.
    pub(super) fn fits(&self, path: &str) -> bool {
        if let Some(end) = &self.end {
            return path.ends_with(end);
        }
        let mut places = vec![false; self.parts.len() + 1];
        places[0] = true;
        self.pass(&mut places);
        for letter in path.chars() {
            places = self.take(&places, letter);
            self.pass(&mut places);
        }
        places[self.parts.len()]
    }

    fn take(&self, places: &[bool], letter: char) -> Vec<bool> {
        let mut next = vec![false; places.len()];
        for (at, part) in self.parts.iter().enumerate().filter(|(at, _)| places[*at]) {
            let stays = match part {
                Part::Some => letter != '/',
                Part::Folders | Part::Rest => true,
                _ => false,
            };
            let goes_on = match part {
                Part::Letter(wanted) => *wanted == letter,
                Part::One => letter != '/',
                Part::Folders => letter == '/',
                Part::Class { negated, ranges } => {
                    *negated != ranges.iter().any(|(low, high)| (low..=high).contains(&&letter))
                }
                Part::Some | Part::Maybe | Part::Rest => false,
            };
            next[at] |= stays;
            next[at + 1] |= goes_on;
        }
        next
    }

    /// Adds the places that are reached without a letter.
    fn pass(&self, places: &mut [bool]) {
        for (at, part) in self.parts.iter().enumerate() {
            if places[at] && matches!(part, Part::Some | Part::Rest | Part::Maybe) {
                places[at + 1] = true;
                if *part == Part::Maybe {
                    places[at + 2] = true;
                }
            }
        }
    }
}

fn parts(text: &str) -> Result<Vec<Part>, &'static str> {
    let (mut letters, mut parts) = (text.chars().peekable(), Vec::new());
    while let Some(letter) = letters.next() {
        let part = match letter {
            '*' if letters.next_if_eq(&'*').is_some() => {
                letters.next_if_eq(&'/');
                match letters.peek() {
                    Some(_) => {
                        parts.push(Part::Maybe);
                        Part::Folders
                    }
                    None => Part::Rest,
                }
            }
            '*' => Part::Some,
            '?' => Part::One,
            '[' => class(&mut letters)?,
            '\\' => Part::Letter(letters.next().ok_or("ends with a `\\` that escapes nothing")?),
            other => Part::Letter(other),
        };
        parts.push(part);
    }
    Ok(parts)
}

fn class(letters: &mut Peekable<impl Iterator<Item = char>>) -> Result<Part, &'static str> {
    const OPEN: &str = "has a `[` that is not closed, or holds nothing";
    let negated = letters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if letters.next_if_eq(&']').is_some() {
            return if ranges.is_empty() { Err(OPEN) } else { Ok(Part::Class { negated, ranges }) };
        }
        let low = member(letters).ok_or(OPEN)?;
        let high = match letters.next_if_eq(&'-') {
            Some(_) => member(letters).ok_or(OPEN)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn member(letters: &mut Peekable<impl Iterator<Item = char>>) -> Option<char> {
    match letters.next()? {
        '\\' => letters.next(),
        '-' | ']' => None,
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_as_they_do_for_docker() {
        for (pattern, path, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a", "b/a", false),
            ("*", "a.b", true),
            ("*", "a/b", false),
            ("*.md", "README.md", true),
            ("*/temp*", "x/temporary", true),
            ("*/temp*", "x/y/temp", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("**", "a/b", true),
            ("**/a", "a", true),
            ("**/a", "x/y/a", true),
            ("**/a", "ba", false),
            ("**a", "x/ba", true),
            ("**/*.rs", "a.rs", true),
            ("**/*.rs", "x/y/a.rs", true),
            ("**/b*", "ab", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a**", "ab/c", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**/a/**", "x/a/y", true),
            ("**/a/**", "xa/y", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[a\\]]x", "]x", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a.b", "axb", false),
            ("ä?", "äö", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().fits(path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn what_go_calls_malformed_is_refused() {
        for pattern in ["[", "[a", "[]a]", "[a-]", "[-a]", "a\\"] {
            Pattern::new(pattern).unwrap_err();
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = Pattern::new(&"**/*a".repeat(40)).unwrap();
        assert!(!pattern.fits(&"a/".repeat(2000)));
    }
}
