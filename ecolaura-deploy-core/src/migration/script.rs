//! SQL taken apart as far as needed to see where statements begin and end.

/// A statement of a script.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    /// Its words outside of quotes and comments.
    pub(crate) words: Vec<&'a str>,
    /// Whether a `;` ends it.
    pub(crate) ended: bool,
}

impl Statement<'_> {
    /// Whether its words begin with `words`, in any case.
    pub(crate) fn begins(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len()
            && self.words.iter().zip(words).all(|(own, word)| own.eq_ignore_ascii_case(word))
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own.eq_ignore_ascii_case(word))
    }

    /// What it takes away that a running release may still use, if that can be seen from its words.
    fn destroys(&self) -> Option<&'static str> {
        match () {
            () if self.begins(&["drop", "table"]) => Some("drops a table"),
            () if self.begins(&["drop", "view"]) => Some("drops a view"),
            () if self.begins(&["truncate"]) => Some("empties a table"),
            () if self.begins(&["delete"]) && !self.has("where") => Some("empties a table"),
            () if self.begins(&["alter", "table"]) && self.has("drop") => Some("drops a part of a table"),
            () if self.begins(&["alter", "table"]) && self.has("rename") => Some("renames a part of a table"),
            () => None,
        }
    }
}

/// A quote or a comment that is not closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unclosed {
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    /// What begins it.
    pub(crate) opening: &'static str,
}

/// The statements of `sql`.
pub(crate) fn statements(sql: &str) -> Result<Vec<Statement<'_>>, Unclosed> {
    let mut splitter = Splitter::default();
    let mut position = 0;
    while position < sql.len() {
        let rest = &sql[position..];
        let token = Token::first(rest).map_err(|opening| Unclosed { line: line(sql, position), opening })?;
        splitter.take(&token, rest, || line(sql, position));
        position += token.len;
    }
    Ok(splitter.finish())
}

/// What `sql` takes away, each with its line.
pub(crate) fn destructive(sql: &str) -> Vec<(usize, &'static str)> {
    let statements = statements(sql).unwrap_or_default();
    statements.iter().filter_map(|statement| Some((statement.line, statement.destroys()?))).collect()
}

fn line(sql: &str, position: usize) -> usize {
    sql[..position].matches('\n').count() + 1
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Space or a comment.
    Nothing,
    Word,
    Semicolon,
    /// A quoted text or name, a number, an operator.
    Other,
}

struct Token {
    kind: Kind,
    len: usize,
}

impl Token {
    /// The token that `rest`, which is not empty, begins with; what opens it if it has no end.
    fn first(rest: &str) -> Result<Self, &'static str> {
        let token = |kind, len| Ok(Self { kind, len });
        let closed = |kind, opening: &'static str, closing: &str| {
            let end = rest[opening.len()..].find(closing).ok_or(opening)?;
            Ok(Self { kind, len: opening.len() + end + closing.len() })
        };
        let first = rest.chars().next().unwrap_or(' ');
        match first {
            '-' if rest.starts_with("--") => token(Kind::Nothing, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => closed(Kind::Nothing, "/*", "*/"),
            // A doubled quote inside closes and opens again, which comes to the same.
            '\'' => closed(Kind::Other, "'", "'"),
            '"' => closed(Kind::Other, "\"", "\""),
            '`' => closed(Kind::Other, "`", "`"),
            '[' => closed(Kind::Other, "[", "]"),
            ';' => token(Kind::Semicolon, 1),
            '\u{feff}' => token(Kind::Nothing, first.len_utf8()),
            _ if first.is_whitespace() => token(Kind::Nothing, first.len_utf8()),
            _ if is_word(first) => token(Kind::Word, rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
            _ => token(Kind::Other, first.len_utf8()),
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[derive(Default)]
struct Splitter<'a> {
    done: Vec<Statement<'a>>,
    open: Option<Statement<'a>>,
    /// Tokens since the last `;`, for the body of a trigger, which ends with `; END ;`.
    since: Vec<&'a str>,
}

impl<'a> Splitter<'a> {
    fn take(&mut self, token: &Token, rest: &'a str, line: impl FnOnce() -> usize) {
        match token.kind {
            Kind::Nothing => {}
            Kind::Semicolon => self.semicolon(),
            kind => {
                let text = &rest[..token.len];
                self.since.push(text);
                let open = self.open.get_or_insert_with(|| Statement { line: line(), words: Vec::new(), ended: false });
                if kind == Kind::Word {
                    open.words.push(text);
                }
            }
        }
    }

    fn semicolon(&mut self) {
        let since = std::mem::take(&mut self.since);
        let Some(mut statement) = self.open.take() else { return };
        let trigger = ["trigger", "temp", "temporary"].iter().any(|word| statement.begins(&["create", word]))
            && statement.words.iter().take(3).any(|word| word.eq_ignore_ascii_case("trigger"));
        if trigger && !(since.len() == 1 && since[0].eq_ignore_ascii_case("end")) {
            self.open = Some(statement);
        } else {
            statement.ended = true;
            self.done.push(statement);
        }
    }

    fn finish(mut self) -> Vec<Statement<'a>> {
        self.done.extend(self.open);
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(sql: &str) -> Vec<(usize, &str, bool)> {
        statements(sql).unwrap().iter().map(|one| (one.line, one.words[0], one.ended)).collect()
    }

    #[test]
    fn statements_end_where_the_database_ends_them() {
        let sql = "-- a; b\nINSERT INTO t VALUES ('x;''y');;\n/* ; */ UPDATE \"a;b\" SET [c;d] = 1;\nSELECT 1";
        assert_eq!(heads(sql), [(2, "INSERT", true), (3, "UPDATE", true), (4, "SELECT", false)]);
        assert!(statements(" -- only\n/* comments */;").unwrap().is_empty());
    }

    #[test]
    fn the_body_of_a_trigger_belongs_to_it() {
        let sql = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN\n DELETE FROM b;\n SELECT CASE WHEN 1 THEN 2 END;\nEND;\nSELECT 1;";
        assert_eq!(heads(sql), [(1, "CREATE", true), (5, "SELECT", true)]);
        assert_eq!(heads("CREATE TRIGGER t BEGIN DELETE FROM b;"), [(1, "CREATE", false)]);
    }

    #[test]
    fn what_is_not_closed_is_named() {
        for (sql, line, opening) in [("SELECT 1;\nSELECT 'a", 2, "'"), ("/* a", 1, "/*"), ("\n\n[a", 3, "[")] {
            assert_eq!(statements(sql).unwrap_err(), Unclosed { line, opening });
        }
    }

    #[test]
    fn what_takes_away_is_seen() {
        let sql =
            "drop table a;\nDELETE FROM b WHERE id = 1;\nalter table c rename to d;\ndelete from e;\nDROP INDEX i;";
        let found: Vec<usize> = destructive(sql).iter().map(|(line, _)| *line).collect();
        assert_eq!(found, [1, 3, 4]);
    }
}
