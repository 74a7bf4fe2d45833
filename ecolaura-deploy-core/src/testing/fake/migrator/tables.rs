//! Tables of numbers, and the little SQL that changes them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    Error, Result,
    migration::script::{self, Statement},
};

/// Statements that are SQL and change no numbers.
const IDLE: [&str; 7] = ["alter", "create", "drop", "pragma", "select", "with", "analyze"];

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Tables(BTreeMap<String, Table>);

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Table {
    columns: BTreeSet<String>,
    rows: Vec<BTreeMap<String, i64>>,
}

impl Tables {
    pub(super) fn count(&self, table: &str) -> Option<i64> {
        i64::try_from(self.0.get(table)?.rows.len()).ok()
    }

    pub(super) fn sum(&self, table: &str, column: &str) -> Option<i64> {
        let table = self.0.get(table).filter(|table| table.columns.contains(column))?;
        Some(table.rows.iter().filter_map(|row| row.get(column)).sum())
    }

    /// Runs a script. What comes before a statement that fails stays done.
    pub(super) fn run(&mut self, operation: &'static str, sql: &str) -> Result<()> {
        let statements = script::statements(sql)
            .map_err(|unclosed| Error::invalid(operation, format!("`{}` is not closed", unclosed.opening)))?;
        statements.iter().try_for_each(|statement| {
            self.one(statement).map_err(|why| Error::invalid(operation, format!("line {}: {why}", statement.line)))
        })
    }

    fn one(&mut self, statement: &Statement<'_>) -> Result<(), String> {
        let words: Vec<&str> = statement.words.clone();
        match words.as_slice() {
            [_, _, table, columns @ ..] if statement.begins(&["create", "table"]) => {
                let columns = columns.iter().map(|&column| column.to_owned()).collect();
                match self.0.insert((*table).to_owned(), Table { columns, rows: Vec::new() }) {
                    Some(_) => Err(format!("table {table} already exists")),
                    None => Ok(()),
                }
            }
            [_, _, table] if statement.begins(&["drop", "table"]) => {
                self.0.remove(*table).map(drop).ok_or_else(|| missing(table))
            }
            [_, _, table, rest @ ..] if statement.begins(&["insert", "into"]) => insert(self.table(table)?, rest),
            [_, table, _, column, value, rest @ ..] if statement.begins(&["update"]) => {
                let (value, chosen) = (number(value)?, chosen(rest)?);
                for row in self.table(table)?.rows.iter_mut().filter(|row| chosen(row)) {
                    row.insert((*column).to_owned(), value);
                }
                Ok(())
            }
            [_, _, table, rest @ ..] if statement.begins(&["delete", "from"]) => {
                let chosen = chosen(rest)?;
                self.table(table)?.rows.retain(|row| !chosen(row));
                Ok(())
            }
            [first, ..] if IDLE.iter().any(|word| first.eq_ignore_ascii_case(word)) => Ok(()),
            words => Err(format!("near `{}`: syntax error", words.first().unwrap_or(&""))),
        }
    }

    fn table(&mut self, table: &str) -> Result<&mut Table, String> {
        self.0.get_mut(table).ok_or_else(|| missing(table))
    }
}

fn missing(table: &str) -> String {
    format!("no such table: {table}")
}

fn number(word: &str) -> Result<i64, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number"))
}

fn insert(table: &mut Table, words: &[&str]) -> Result<(), String> {
    let middle = words.iter().position(|word| word.eq_ignore_ascii_case("values")).ok_or("no VALUES")?;
    let (columns, values) = (&words[..middle], &words[middle + 1..]);
    if columns.is_empty() || values.is_empty() || !values.len().is_multiple_of(columns.len()) {
        return Err("as many numbers as columns must be given".to_owned());
    }
    for row in values.chunks(columns.len()) {
        let pairs = columns.iter().zip(row).map(|(&column, value)| Ok((column.to_owned(), number(value)?)));
        table.rows.push(pairs.collect::<Result<_, String>>()?);
    }
    Ok(())
}

type Row = BTreeMap<String, i64>;

/// Which rows `WHERE c = n` means; all, if there is none.
fn chosen(words: &[&str]) -> Result<impl Fn(&Row) -> bool + use<>, String> {
    let wanted = match words {
        [] => None,
        [_, column, value] => Some(((*column).to_owned(), number(value)?)),
        _ => return Err("only `WHERE column = number` is known".to_owned()),
    };
    Ok(move |row: &Row| wanted.as_ref().is_none_or(|(column, value)| row.get(column) == Some(value)))
}
