//! Measuring data in one snapshot.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, sqlite::SqliteRow};

use super::connection::{Mode, Work};
use crate::{
    ErrorKind, Result,
    backend::{DataCheck, Measurements},
    migration::script::statements,
};

/// Measures `checks`; where there is no database, nothing can be measured.
pub(super) async fn measure(work: Work<'_>, checks: &[DataCheck]) -> Result<Measurements> {
    work.check()?;
    if !work.exists()? {
        return Ok(Measurements(checks.iter().map(|check| (check.name(), None)).collect()));
    }
    let mut connection = work.connect(Mode::Read).await?;
    work.execute(&mut connection, "BEGIN").await?;
    let mut found = BTreeMap::new();
    for check in checks {
        work.check()?;
        let value = one(work, &mut connection, check).await.map_err(|error| error.with("check", check.name()))?;
        found.insert(check.name(), value);
    }
    work.close(connection).await;
    Ok(Measurements(found))
}

async fn one(work: Work<'_>, connection: &mut SqliteConnection, check: &DataCheck) -> Result<Option<i64>> {
    match check {
        DataCheck::RowCount { table, .. } => {
            if !has_column(work, connection, table, None).await? {
                return Ok(None);
            }
            number(work, connection, &format!("SELECT COUNT(*) FROM {}", quoted(table))).await
        }
        DataCheck::Sum { table, column, .. } => {
            if !has_column(work, connection, table, Some(column)).await? {
                return Ok(None);
            }
            let (column, table) = (quoted(column), quoted(table));
            number(work, connection, &format!("SELECT CAST(COALESCE(SUM({column}), 0) AS INTEGER) FROM {table}")).await
        }
        DataCheck::ForeignKeys => number(work, connection, "SELECT COUNT(*) FROM pragma_foreign_key_check").await,
        DataCheck::Structure => number(work, connection, STRUCTURE).await,
        DataCheck::Query { sql, .. } => query(work, connection, sql).await,
    }
}

const STRUCTURE: &str = "SELECT COUNT(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'";

/// The number of findings of SQLite's own check of its file.
pub(super) async fn structure(work: Work<'_>, connection: &mut SqliteConnection) -> Result<i64> {
    Ok(number(work, connection, STRUCTURE).await?.unwrap_or_default())
}

/// The number of rows that refer to one that is not there.
pub(super) async fn foreign_keys(work: Work<'_>, connection: &mut SqliteConnection) -> Result<i64> {
    Ok(one(work, connection, &DataCheck::ForeignKeys).await?.unwrap_or_default())
}

/// `name` as an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn has_column(
    work: Work<'_>,
    connection: &mut SqliteConnection,
    table: &str,
    column: Option<&str>,
) -> Result<bool> {
    // A table without columns cannot be.
    let sql = "SELECT COUNT(*) FROM pragma_table_xinfo(?1) WHERE ?2 IS NULL OR lower(name) = lower(?2)";
    let count: Result<i64, _> = sqlx::query_scalar(sql).bind(table).bind(column).fetch_one(connection).await;
    count.map(|count| count > 0).map_err(|error| work.classify(error))
}

async fn number(work: Work<'_>, connection: &mut SqliteConnection, sql: &str) -> Result<Option<i64>> {
    let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_optional(connection).await;
    let row = row.map_err(|error| work.classify(error))?;
    row.as_ref().map_or(Ok(None), |row| integer(work, row))
}

/// The answer of a query of the caller's; `None` if something that it reads is not there yet.
async fn query(work: Work<'_>, connection: &mut SqliteConnection, sql: &str) -> Result<Option<i64>> {
    if let Ok([_, second, ..]) = statements(sql).as_deref() {
        let message = format!("it is more than one statement: another begins on line {}", second.line);
        return Err(work.error(ErrorKind::InvalidInput, &message).advice("make it one query, or two checks"));
    }
    let answer = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_optional(connection).await;
    match answer {
        Ok(row) => row.as_ref().map_or(Ok(None), |row| integer(work, row)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(work.classify(error)),
    }
}

fn is_missing(error: &sqlx::Error) -> bool {
    let message = error.as_database_error().map_or("", |error| error.message());
    message.starts_with("no such table") || message.starts_with("no such column")
}

fn integer(work: Work<'_>, row: &SqliteRow) -> Result<Option<i64>> {
    row.try_get(0).map_err(|error| {
        work.error(ErrorKind::InvalidInput, "its answer is not an integer")
            .advice("let the query answer with one row of one integer; `CAST(… AS INTEGER)` makes one")
            .with_source(error)
    })
}
