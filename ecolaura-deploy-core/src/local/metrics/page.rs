//! Prometheus' text format (version 0.0.4), and as much of `OpenMetrics` as occurs.

use std::collections::BTreeMap;

use crate::{Error, ErrorKind, Result};

/// A series' name and labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
}

impl Series {
    /// Whether it has all of `labels`.
    pub(super) fn has(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(name) == Some(value))
    }

    /// Whether its status is from 500 to 599, or the class `5xx`.
    pub(super) fn is_server_error(&self) -> bool {
        let status = self.labels.get("code").or_else(|| self.labels.get("status"));
        status.is_some_and(|status| status.len() == 3 && status.starts_with('5'))
    }
}

/// What a page says: a value for each series. Those that are not a number are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Page(pub(super) BTreeMap<Series, f64>);

impl Page {
    /// Reads `text`. Fails with `Corrupt` naming the line.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (series, value) = parse_line(line).map_err(|expected| refuse(number + 1, line, expected))?;
            if !value.is_nan() {
                values.insert(series, value);
            }
        }
        Ok(Self(values))
    }
}

fn refuse(number: usize, line: &str, expected: &str) -> Error {
    let shown: String = line.chars().take(120).collect();
    Error::new(ErrorKind::Corrupt, "metrics.parse", format!("line {number}: `{shown}`: expected {expected}"))
        .advice("the page must be in Prometheus' text format")
}

/// `name{label="value",…} value [timestamp] [# exemplar]`, or what was expected instead.
fn parse_line(line: &str) -> Result<(Series, f64), &'static str> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace()).ok_or("a value after the name")?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.')) {
        return Err("a metric's name");
    }
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next().ok_or("a value")?;
    Ok((Series { name: name.to_owned(), labels }, parse_value(value).ok_or("a number, `NaN`, `+Inf` or `-Inf`")?))
}

fn parse_value(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ => text.parse().ok(),
    }
}

/// The labels up to `}`, and what follows it.
fn parse_labels(mut rest: &str) -> Result<(BTreeMap<String, String>, &str), &'static str> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once('=').ok_or("a label's `=` or `}`")?;
        let quoted = after.trim_start().strip_prefix('"').ok_or("`\"` before a label's value")?;
        let (value, after) = parse_quoted(quoted)?;
        labels.insert(name.trim().to_owned(), value);
        rest = after.trim_start();
        if !rest.starts_with([',', '}']) {
            return Err("`,` or `}` after a label");
        }
    }
}

/// The text up to the closing quote, unescaped, and what follows it.
fn parse_quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, other)) => other,
                None => return Err("`\"` after a label's value"),
            }),
            other => value.push(other),
        }
    }
    Err("`\"` after a label's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_as_services_write_them() {
        let text = "# HELP a help\n# TYPE a counter\n\na 1\r\nb{} 2.5 1395066363000\n\
            c{x=\"1\", y=\"a\\\"b\\\\c\\nd},\", } +Inf\nd{x=\"é\"}\t3e2 # {trace=\"1\"} 5\ne NaN\nf -1\n# EOF\n";
        let page = Page::parse(text).unwrap();
        let found: Vec<_> = page.0.iter().map(|(series, value)| (series.name.as_str(), *value)).collect();
        assert_eq!(found, [("a", 1.0), ("b", 2.5), ("c", f64::INFINITY), ("d", 300.0), ("f", -1.0)]);
        let labels = &page.0.keys().nth(2).unwrap().labels;
        assert_eq!(labels["y"], "a\"b\\c\nd},");
    }

    #[test]
    fn bad_lines_are_named() {
        for (line, expected) in [
            ("a", "a value after the name"),
            ("a x", "a number"),
            ("a{x=1} 1", "before a label's value"),
            ("a{x=\"1} 1", "after a label's value"),
            ("a{x=\"1\"y=\"2\"} 1", "`,` or `}`"),
            ("a{x=\"1\"", "`,` or `}`"),
            ("<html> 1", "a metric's name"),
            ("a{}", "a value"),
        ] {
            let report = Page::parse(&format!("# ok\nok 1\n{line}\n")).unwrap_err().report();
            assert!(report.contains("line 3") && report.contains(expected), "{line}: {report}");
        }
    }
}
