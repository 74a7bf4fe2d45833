//! What `.dockerignore` leaves out of a context, by docker's own rules.

use super::pattern::Pattern;

/// Letters that make a pattern more than a path.
const SPECIAL: [char; 6] = ['*', '[', ']', '?', '^', '\\'];

#[derive(Debug, Clone, Default)]
pub(super) struct Ignore {
    lines: Vec<Line>,
    /// Whether each exception is a path, perhaps with everything below it.
    plain_exceptions: bool,
}

#[derive(Debug, Clone)]
struct Line {
    text: String,
    pattern: Pattern,
    exception: bool,
}

/// Which lines a folder fits: what is in it fits them too.
#[derive(Debug, Clone, Default)]
pub(super) struct Fits(Vec<bool>);

impl Ignore {
    /// Reads an ignore file. Fails with each line that is wrong, by its number.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<String>> {
        let (mut lines, mut problems) = (Vec::new(), Vec::new());
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let Some((text, exception)) = cleaned(line.trim()) else { continue };
            let nothing = exception && ["", "/"].contains(&text.as_str());
            let read = if nothing { Err("names nothing") } else { Pattern::new(&text) };
            match read {
                Ok(pattern) => lines.push(Line { text, pattern, exception }),
                Err(why) => problems.push(format!("line {}: `{}` {why}", number + 1, line.trim().escape_debug())),
            }
        }
        let mut exceptions = lines.iter().filter(|line| line.exception);
        let plain_exceptions = exceptions.all(|line| !trunk(&line.text).contains(SPECIAL));
        if problems.is_empty() { Ok(Self { lines, plain_exceptions }) } else { Err(problems) }
    }

    /// Whether `path` is left out, and which lines it fits; `above` is what its folder fits. The last line that fits says
    /// which.
    pub(super) fn leaves_out(&self, path: &str, above: &Fits) -> (bool, Fits) {
        let (mut out, mut fits) = (false, Vec::with_capacity(self.lines.len()));
        for (at, line) in self.lines.iter().enumerate() {
            let inherited = above.0.get(at).copied().unwrap_or(false);
            // One that changes nothing is not asked, which is also what docker inherits.
            let found = inherited || line.exception == out && line.pattern.fits(path);
            fits.push(found);
            if found {
                out = !line.exception;
            }
        }
        (out, Fits(fits))
    }

    /// Whether something in the folder `path`, which is left out, can come back by an exception.
    pub(super) fn may_return(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        let mut exceptions = self.lines.iter().filter(|line| line.exception);
        exceptions.any(|line| !self.plain_exceptions || format!("{}/", trunk(&line.text)).starts_with(&folder))
    }
}

/// The path of a line, and whether it is an exception; `None` if there is nothing in it.
fn cleaned(line: &str) -> Option<(String, bool)> {
    let (text, exception) = match line.strip_prefix('!') {
        Some(text) => (text.trim(), true),
        None => (line, false),
    };
    if text.is_empty() {
        return exception.then(|| (String::new(), true));
    }
    Some((clean(text), exception))
}

/// `text` as Go's `filepath.Clean` has it, and without the `/` at its start.
fn clean(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if text.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    match (parts.is_empty(), text.starts_with('/')) {
        (true, true) => "/".to_owned(),
        (true, false) => ".".to_owned(),
        _ => parts.join("/"),
    }
}

/// A line without what means everything below a path.
fn trunk(text: &str) -> &str {
    let text = text.strip_suffix("/**").unwrap_or(text);
    text.strip_suffix("/*").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of `paths`, which name folders before what is in them, is sent.
    fn sent<'a>(text: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignore = Ignore::parse(text).unwrap();
        let mut fits: std::collections::BTreeMap<&str, Fits> = std::collections::BTreeMap::new();
        let mut sent = Vec::new();
        for path in paths {
            let above = path.rsplit_once('/').and_then(|(folder, _)| fits.get(folder).cloned()).unwrap_or_default();
            let (out, own) = ignore.leaves_out(path, &above);
            fits.insert(path, own);
            if !out {
                sent.push(*path);
            }
        }
        sent
    }

    #[test]
    fn the_last_line_that_fits_says_which() {
        let paths = ["README.md", "a", "a/b", "a/b/c", "a/d", "x.md", "x.txt"];
        for (text, expected) in [
            ("", paths.to_vec()),
            ("# a\n\n  \n", paths.to_vec()),
            (" #a\n*.md", vec!["a", "a/b", "a/b/c", "a/d", "x.txt"]),
            ("*.md\n!README.md", vec!["README.md", "a", "a/b", "a/b/c", "a/d", "x.txt"]),
            ("!README.md\n*.md", vec!["a", "a/b", "a/b/c", "a/d", "x.txt"]),
            ("*.md\n!README*.md\nREADME.md", vec!["a", "a/b", "a/b/c", "a/d", "x.txt"]),
            ("a", vec!["README.md", "x.md", "x.txt"]),
            ("/a/", vec!["README.md", "x.md", "x.txt"]),
            ("./a/../a", vec!["README.md", "x.md", "x.txt"]),
            ("a\n!a/b", vec!["README.md", "a/b", "a/b/c", "x.md", "x.txt"]),
            ("a\n!a/b\na/b/c", vec!["README.md", "a/b", "x.md", "x.txt"]),
            ("*\n! a", vec!["a", "a/b", "a/b/c", "a/d"]),
            ("*\n!**/c", vec!["a/b/c"]),
            ("\u{feff}*\n!x.txt", vec!["x.txt"]),
            ("**", vec![]),
            ("a/*", vec!["README.md", "a", "x.md", "x.txt"]),
            // A folder that nothing left out does not bring back what is left out in it.
            ("**/c\n!a/b", vec!["README.md", "a", "a/b", "a/d", "x.md", "x.txt"]),
        ] {
            assert_eq!(sent(text, &paths), expected, "{text}");
        }
    }

    #[test]
    fn a_folder_is_searched_only_if_something_can_come_back() {
        let returns = |text: &str, path: &str| Ignore::parse(text).unwrap().may_return(path);
        assert!(!returns("a", "a"));
        assert!(returns("a\n!a/b/c", "a") && returns("a\n!a/b/c", "a/b") && returns("a\n!a/**", "a"));
        assert!(!returns("a\n!b", "a") && !returns("a\n!ab", "a"));
        assert!(returns("a\n!**/b", "a") && returns("a\n!b\n!*.c", "a"));
    }

    #[test]
    fn every_line_that_is_wrong_is_named() {
        let problems = Ignore::parse("a\n[\n!\n# [\n!x[\n!/a/..").unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].starts_with("line 2: `[`") && problems[2].starts_with("line 5: `!x[`"), "{problems:?}");
        assert!(problems[1].starts_with("line 3: `!` names nothing"), "{problems:?}");
    }
}
