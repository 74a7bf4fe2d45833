//! The folder of migrations in sqlx's naming: `VERSION_DESCRIPTION.sql`, or `….up.sql` with `….down.sql`.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha384};

use super::problem::Problem;
use crate::{
    ErrorKind, Result,
    backend::Migration,
    vocabulary::{MigrationChecksum, MigrationVersion},
};

/// How a script that is not to run in a transaction begins.
const NO_TRANSACTION: &str = "-- no-transaction";

/// A script as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// The file's name.
    pub(crate) file: String,
    /// Its content.
    pub(crate) sql: String,
}

impl Script {
    /// sqlx's checksum.
    pub(crate) fn checksum(&self) -> MigrationChecksum {
        checksum(&self.sql)
    }

    /// Whether only the line endings differ from what has this checksum.
    pub(super) fn differs_in_line_endings(&self, other: &MigrationChecksum) -> bool {
        let unix = self.sql.replace("\r\n", "\n");
        [checksum(&unix), checksum(&unix.replace('\n', "\r\n"))].contains(other)
    }
}

fn checksum(sql: &str) -> MigrationChecksum {
    MigrationChecksum::new(Sha384::digest(sql).to_vec())
}

/// Whether `sql` asks to be run outside of a transaction.
pub(crate) fn without_transaction(sql: &str) -> bool {
    sql.starts_with(NO_TRANSACTION)
}

/// A migration and its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) version: MigrationVersion,
    pub(crate) description: String,
    pub(crate) up: Script,
    pub(crate) down: Option<Script>,
}

impl Entry {
    /// As a plan shows it.
    pub(crate) fn migration(&self) -> Migration {
        let up = self.up.sql.clone();
        Migration::new(self.version, self.description.clone(), self.up.checksum(), up, self.down.is_some())
    }

    /// Whether its name promises a way down that is not there.
    pub(super) fn lacks_down(&self) -> bool {
        self.down.is_none() && self.up.file.ends_with(".up.sql")
    }
}

/// The migrations of a folder, ascending, and what is wrong with the folder.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) entries: Vec<Entry>,
    pub(crate) problems: Vec<Problem>,
}

/// Makes migrations of files by their names.
pub(crate) fn sort(mut files: Vec<(String, Vec<u8>)>) -> Files {
    files.sort();
    let (mut ups, mut downs, mut problems) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (file, content) in files {
        match parse(&file, content) {
            Err(problem) => problems.push(problem),
            Ok((name, sql)) => {
                let side: &mut BTreeMap<_, (String, Script)> = if name.down { &mut downs } else { &mut ups };
                let script = Script { file, sql };
                if let Some((_, first)) = side.get(&name.version) {
                    let text =
                        format!("`{}` has the same version {}; give one of them a new one", first.file, name.version);
                    problems.push(Problem::file(ErrorKind::InvalidInput, &script.file, &text));
                } else {
                    side.insert(name.version, (name.description, script));
                }
            }
        }
    }
    let entries = ups.into_iter().map(|(version, (description, up))| {
        let down = downs.remove(&version).map(|(_, script)| script);
        Entry { version, description, up, down }
    });
    let entries = entries.collect();
    for (_, script) in downs.into_values() {
        let text = "goes down from a version that no file goes up to; add the `.up.sql`, or remove it";
        problems.push(Problem::file(ErrorKind::InvalidInput, &script.file, text));
    }
    Files { entries, problems }
}

struct FileName {
    version: MigrationVersion,
    description: String,
    down: bool,
}

fn parse(file: &str, content: Vec<u8>) -> Result<(FileName, String), Problem> {
    let Some(name) = FileName::parse(file) else {
        let text = "misnamed, and so would be passed over; expected `VERSION_DESCRIPTION.sql`, `….up.sql` or \
                    `….down.sql` with a version of digits above 0; rename it";
        return Err(Problem::file(ErrorKind::InvalidInput, file, text));
    };
    let sql = String::from_utf8(content).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        let text = format!("byte {position} is not UTF-8; save it as UTF-8");
        Problem::file(ErrorKind::InvalidInput, file, &text)
    })?;
    Ok((name, sql))
}

impl FileName {
    fn parse(file: &str) -> Option<Self> {
        let (version, rest) = file.strip_suffix(".sql")?.split_once('_')?;
        let (description, down) = match rest.strip_suffix(".down") {
            Some(description) => (description, true),
            None => (rest.strip_suffix(".up").unwrap_or(rest), false),
        };
        let version: MigrationVersion = version.parse().ok().filter(|version: &MigrationVersion| version.0 > 0)?;
        // A dot is most likely a misspelt `.down`, whose SQL must never go up.
        let good = !description.is_empty() && !description.contains('.');
        good.then(|| Self { version, description: description.replace('_', " "), down })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&str]) -> Files {
        sort(names.iter().map(|name| ((*name).to_owned(), b"SELECT 1;".to_vec())).collect())
    }

    #[test]
    fn names_are_read_as_sqlx_reads_them() {
        let files = sorted(&["0002_add_name.down.sql", "0002_add_name.up.sql", "0001_users.sql", "10_x.sql"]);
        assert!(files.problems.is_empty(), "{:?}", files.problems);
        let found: Vec<_> =
            files.entries.iter().map(|one| (one.version.0, one.description.as_str(), one.down.is_some())).collect();
        assert_eq!(found, [(1, "users", false), (2, "add name", true), (10, "x", false)]);
    }

    #[test]
    fn bad_names_are_all_named() {
        let bad = [
            "users.sql",
            "1users.sql",
            "0_zero.sql",
            "-1_minus.sql",
            "+1_plus.sql",
            "1_.sql",
            "2_a.dwn.sql",
            "3_a.SQL",
        ];
        let problems = sorted(&bad).problems;
        assert_eq!(problems.len(), bad.len(), "{problems:?}");
        for name in ["01_again.sql", "7_alone.down.sql"] {
            assert_eq!(sorted(&["1_first.sql", name]).problems.len(), 1, "{name}");
        }
        assert_eq!(sort(vec![("1_a.sql".into(), vec![0xff])]).problems.len(), 1);
    }
}
