//! Files against a ledger.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    files::{Entry, Files, Script, without_transaction},
    problem::Problem,
    script,
};
use crate::{
    ErrorKind,
    vocabulary::{MigrationChecksum, MigrationVersion},
};

/// Versions below this are a sequence without gaps; from here on they are times, of which only the order counts.
const FIRST_TIME: i64 = 10_000_000;

/// A row of sqlx's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerRow {
    pub(crate) version: MigrationVersion,
    pub(crate) checksum: MigrationChecksum,
    /// Whether the migration came to its end.
    pub(crate) success: bool,
}

/// The migrations that are pending, ascending, and everything that is wrong. A ledger that is ahead of the files (an
/// older checkout) is right. What was applied already is only held against its checksum.
pub(crate) fn assess<'a>(files: &'a Files, ledger: &[LedgerRow]) -> (Vec<&'a Entry>, Vec<Problem>) {
    let applied: BTreeSet<_> = ledger.iter().map(|row| row.version).collect();
    let head = applied.last().copied().unwrap_or_default();
    let pending: Vec<&Entry> = files.entries.iter().filter(|entry| !applied.contains(&entry.version)).collect();
    let mut problems: Vec<Problem> = dirty(ledger).collect();
    problems.extend(files.problems.iter().cloned());
    problems.extend(ledger.iter().filter_map(|row| edited(files, row)));
    problems.extend(lost(files, &applied));
    problems.extend(pending.iter().filter_map(|entry| out_of_order(entry, head)));
    problems.extend(gaps(head, &pending));
    problems.extend(pending.iter().flat_map(|entry| flaws(entry)));
    (pending, problems)
}

fn dirty(ledger: &[LedgerRow]) -> impl Iterator<Item = Problem> {
    ledger.iter().filter(|row| !row.success).map(|row| {
        let text = "it began and did not end, so the database is between two versions; look at what of its SQL is \
                    there and say so with `resolve_dirty`, or restore the backup";
        Problem::new(ErrorKind::MigrationDirty, &format!("version {}", row.version), text)
    })
}

fn entry(files: &Files, version: MigrationVersion) -> Option<&Entry> {
    files.entries.iter().find(|entry| entry.version == version)
}

fn edited(files: &Files, row: &LedgerRow) -> Option<Problem> {
    let up = &entry(files, row.version)?.up;
    if !row.success || up.checksum() == row.checksum {
        return None;
    }
    let text = if up.differs_in_line_endings(&row.checksum) {
        "its line endings changed after it was applied, and with them its checksum; put them back (`*.sql text eol=lf` \
         in `.gitattributes` keeps them)"
            .to_owned()
    } else {
        let (found, expected) = (up.checksum().to_string(), row.checksum.to_string());
        let (found, expected) = (found.get(..12).unwrap_or(&found), expected.get(..12).unwrap_or(&expected));
        format!(
            "edited after it was applied: its checksum is {found}…, the ledger has {expected}…; put the old content \
             back and write a new migration"
        )
    };
    Some(Problem::file(ErrorKind::Conflict, &up.file, &text))
}

/// Applied versions below the newest file that have no file: something was deleted or not merged.
fn lost(files: &Files, applied: &BTreeSet<MigrationVersion>) -> impl Iterator<Item = Problem> {
    let newest = files.entries.last().map(|entry| entry.version).unwrap_or_default();
    let lost = applied.iter().filter(move |version| **version < newest && entry(files, **version).is_none());
    lost.map(|version| {
        let text = "it was applied and its file is gone, though newer ones are there; put the file back";
        Problem::new(ErrorKind::InvalidInput, &format!("version {version}"), text)
    })
}

fn out_of_order(entry: &Entry, head: MigrationVersion) -> Option<Problem> {
    (entry.version < head).then(|| {
        let text = format!("out of order: {head} was applied already; give it a version above that");
        Problem::file(ErrorKind::InvalidInput, &entry.up.file, &text)
    })
}

/// Where a sequence of versions misses some, from the head on. A new database may begin anywhere.
fn gaps(head: MigrationVersion, pending: &[&Entry]) -> Vec<Problem> {
    let newer = pending.iter().filter(|entry| entry.version > head);
    let mut before = head.0;
    let mut problems = Vec::new();
    for entry in newer {
        let version = entry.version.0;
        if before > 0 && version < FIRST_TIME && version != before + 1 {
            let missing = if version == before + 2 {
                (before + 1).to_string()
            } else {
                format!("{} to {}", before + 1, version - 1)
            };
            let text = format!("a gap before it: version {missing} is missing; add the file, or renumber");
            problems.push(Problem::file(ErrorKind::InvalidInput, &entry.up.file, &text));
        }
        before = version;
    }
    problems
}

/// What is wrong inside of files that were not applied yet.
fn flaws(entry: &Entry) -> Vec<Problem> {
    let flaw = |script: &Script, text: String| Problem::file(ErrorKind::InvalidInput, &script.file, &text);
    let scripts = std::iter::once(&entry.up).chain(&entry.down);
    let mut problems: Vec<_> = scripts.filter_map(|script| Some(flaw(script, flaw_of(script)?))).collect();
    if entry.lacks_down() {
        let down = entry.up.file.replace(".up.sql", ".down.sql");
        problems
            .push(flaw(&entry.up, format!("`{down}` is missing beside it; add it, or name this one without `.up`")));
    }
    problems
}

fn flaw_of(script: &Script) -> Option<String> {
    let statements = match script::statements(&script.sql) {
        Err(unclosed) => {
            return Some(format!("truncated? line {}: `{}` is not closed", unclosed.line, unclosed.opening));
        }
        Ok(statements) => statements,
    };
    let Some(last) = statements.last() else {
        return Some("empty: it holds no SQL statement; write it, or `SELECT 1;` if there is nothing to do".to_owned());
    };
    if !last.ended {
        return Some(format!("truncated? the statement of line {} does not end with `;`", last.line));
    }
    if without_transaction(&script.sql) {
        return None;
    }
    let control = statements.iter().find(|statement| {
        let back =
            statement.begins(&["rollback"]) && !statement.words.iter().any(|word| word.eq_ignore_ascii_case("to"));
        back || ["begin", "commit", "end"].iter().any(|word| statement.begins(&[word]))
    })?;
    Some(format!(
        "line {}: `{}` would break the transaction it runs in; remove it, or begin the file with `-- no-transaction`",
        control.line, control.words[0]
    ))
}

/// A way down that may be gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Down {
    pub(crate) version: MigrationVersion,
    pub(crate) sql: String,
    /// Where the SQL is from, for errors.
    pub(crate) source: String,
}

/// The ways down from the head to `target`, newest first, and everything that is in the way. `kept` is the SQL that
/// was kept when a version was applied.
pub(crate) fn ways_down(
    files: &Files,
    ledger: &[LedgerRow],
    kept: &BTreeMap<MigrationVersion, String>,
    target: MigrationVersion,
) -> (Vec<Down>, Vec<Problem>) {
    let mut problems: Vec<Problem> = dirty(ledger).collect();
    let mut ways = Vec::new();
    for row in ledger.iter().rev().filter(|row| row.version > target && row.success) {
        match way_down(files, row, kept.get(&row.version)) {
            Ok(way) => ways.push(way),
            Err(problem) => problems.push(problem),
        }
    }
    (ways, problems)
}

fn way_down(files: &Files, row: &LedgerRow, kept: Option<&String>) -> Result<Down, Problem> {
    let version = row.version;
    let entry = entry(files, version);
    let subject = entry.map_or_else(|| format!("version {version}"), |entry| format!("`{}`", entry.up.file));
    let refuse = |text: &str| Err(Problem::new(ErrorKind::Unsupported, &subject, text));
    if let Some(entry) = entry
        && entry.up.checksum() != row.checksum
    {
        return refuse("edited after it was applied, so its way down may not fit; put the old content back");
    }
    match (kept, entry.and_then(|entry| entry.down.as_ref())) {
        (Some(kept), Some(down)) if *kept != down.sql => {
            refuse("its way down was edited after it was applied; put the old content back")
        }
        (_, Some(down)) => Ok(Down { version, sql: down.sql.clone(), source: down.file.clone() }),
        (Some(kept), None) => Ok(Down { version, sql: kept.clone(), source: format!("the SQL kept for {version}") }),
        (None, None) if entry.is_some() => refuse("it has no way down; write a new migration that goes on from here"),
        (None, None) => {
            refuse("its file is gone, and no way down was kept with the ledger; check out the commit that has it")
        }
    }
}

#[cfg(test)]
mod tests;
