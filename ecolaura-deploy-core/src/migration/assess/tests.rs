use super::*;
use crate::migration::{files::sort, problem::refuse};

fn files(files: &[(&str, &str)]) -> Files {
    sort(files.iter().map(|(name, sql)| ((*name).to_owned(), sql.as_bytes().to_vec())).collect())
}

fn applied(files: &Files, versions: &[i64]) -> Vec<LedgerRow> {
    let row = |version: &i64| {
        let version = MigrationVersion(*version);
        let checksum =
            entry(files, version).map_or_else(|| MigrationChecksum::new([0; 48]), |entry| entry.up.checksum());
        LedgerRow { version, checksum, success: true }
    };
    versions.iter().map(row).collect()
}

/// The pending versions, and the report of everything that is wrong.
fn judged(files: &Files, ledger: &[LedgerRow]) -> (Vec<i64>, Option<(ErrorKind, String)>) {
    let (pending, problems) = assess(files, ledger);
    let error = refuse("test", "folder".as_ref(), &problems);
    (pending.iter().map(|entry| entry.version.0).collect(), error.map(|error| (error.kind(), error.report())))
}

const SQL: &str = "SELECT 1;";

#[test]
fn what_is_not_in_the_ledger_is_pending() {
    let files = files(&[("1_a.sql", SQL), ("2_b.up.sql", SQL), ("2_b.down.sql", SQL), ("3_c.sql", SQL)]);
    assert_eq!(judged(&files, &applied(&files, &[1])), (vec![2, 3], None));
    assert_eq!(judged(&files, &applied(&files, &[1, 2, 3])), (vec![], None));
}

#[test]
fn an_older_checkout_is_right() {
    let files = files(&[("1_a.sql", SQL)]);
    assert_eq!(judged(&files, &applied(&files, &[1, 2])), (vec![], None));
}

#[test]
fn everything_wrong_is_named_at_once() {
    let mut files = files(&[
        ("2_b.sql", SQL),
        ("5_e.sql", SQL),
        ("6_empty.sql", "-- nothing\n"),
        ("7_cut.sql", "DELETE FROM users"),
        ("8_open.sql", "SELECT 'a"),
        ("9_ends.sql", "SELECT 1;\nCOMMIT;"),
        ("10_alone.up.sql", SQL),
        ("12_late.sql", SQL),
        ("misnamed.sql", SQL),
    ]);
    let ledger = applied(&files, &[1, 3, 5]);
    files.entries[1].up.sql.push_str("\nSELECT 2;");
    let (kind, report) = judged(&files, &ledger).1.unwrap();
    assert_eq!(kind, ErrorKind::InvalidInput);
    for part in [
        "version 1: it was applied and its file is gone",
        "version 3: it was applied",
        "`misnamed.sql`: misnamed",
        "`5_e.sql`: edited",
        "`2_b.sql`: out of order: 5",
        "`6_empty.sql`: empty",
        "`7_cut.sql`: truncated? the statement of line 1",
        "`8_open.sql`: truncated? line 1",
        "`9_ends.sql`: line 2: `COMMIT`",
        "`10_alone.down.sql` is missing",
        "`12_late.sql`: a gap before it: version 11 is missing",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    assert!(report.contains("11 problems"), "{report}");
}

#[test]
fn what_was_applied_is_only_held_against_its_checksum() {
    let files = files(&[("1_a.sql", "SELECT 1"), ("5_b.up.sql", SQL), ("6_c.sql", SQL)]);
    assert_eq!(judged(&files, &applied(&files, &[1, 5])), (vec![6], None));
}

#[test]
fn times_have_no_gaps() {
    let files = files(&[("20260101_a.sql", SQL), ("20260301_b.sql", SQL), ("20260301120000_c.sql", SQL)]);
    assert_eq!(judged(&files, &[]), (vec![20_260_101, 20_260_301, 20_260_301_120_000], None));
}

#[test]
fn changed_line_endings_are_said_to_be_that() {
    let before = files(&[("1_a.sql", "SELECT 1;\nSELECT 2;\n")]);
    let after = files(&[("1_a.sql", "SELECT 1;\r\nSELECT 2;\r\n")]);
    let (kind, report) = judged(&after, &applied(&before, &[1])).1.unwrap();
    assert_eq!(kind, ErrorKind::Conflict);
    assert!(report.contains("line endings"), "{report}");
}

#[test]
fn a_dirty_database_outweighs_the_rest() {
    let files = files(&[("1_a.sql", SQL), ("x.sql", SQL)]);
    let mut ledger = applied(&files, &[1]);
    ledger[0].success = false;
    let (kind, report) = judged(&files, &ledger).1.unwrap();
    assert_eq!(kind, ErrorKind::MigrationDirty);
    assert!(report.contains("version 1") && report.contains("resolve_dirty"), "{report}");
}

#[test]
fn the_way_down_is_the_one_that_was_applied() {
    let files = files(&[("1_a.sql", SQL), ("2_b.up.sql", SQL), ("2_b.down.sql", "SELECT 2;"), ("3_c.sql", SQL)]);
    let ledger = applied(&files, &[1, 2, 3, 4, 5]);
    let kept = BTreeMap::from([(MigrationVersion(4), "SELECT 4;".to_owned())]);
    let (ways, problems) = ways_down(&files, &ledger[..2], &kept, MigrationVersion(1));
    assert_eq!((ways[0].sql.as_str(), ways.len(), problems.len()), ("SELECT 2;", 1, 0));
    let (_, problems) = ways_down(&files, &ledger, &kept, MigrationVersion(0));
    let error = refuse("test", "folder".as_ref(), &problems).unwrap();
    assert_eq!((error.kind(), problems.len()), (ErrorKind::Unsupported, 3), "{}", error.report());
    let kept = BTreeMap::from([(MigrationVersion(2), "SELECT 9;".to_owned())]);
    let (_, problems) = ways_down(&files, &ledger[..2], &kept, MigrationVersion(1));
    assert_eq!(problems.len(), 1, "an edited way down");
}
