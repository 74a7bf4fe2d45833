//! Backups: a snapshot, its proof, and a note beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    blocking,
    connection::{Mode, Work},
    disk::{self, Partial},
    ledger::Ledger,
    lock::beside,
    measure::{foreign_keys, structure},
};
use crate::{
    Effect, Error, ErrorKind, Result,
    backend::{Backup, BackupLevel},
    context::to_json,
    vocabulary::{Digest, MigrationVersion},
};

/// How much of a key is kept in a file's name.
const KEY_LENGTH: usize = 100;

/// Where the backup of `key` is.
pub(super) fn location(work: Work<'_>, folder: &Path, key: &str) -> PathBuf {
    let name = work.database.file_name().unwrap_or_default().to_string_lossy();
    folder.join(format!("{name}.{}.backup", file_key(key)))
}

/// `key` as a part of a file's name: itself if it can be, otherwise what can be of it and its digest.
fn file_key(key: &str) -> String {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !key.is_empty() && key.len() <= KEY_LENGTH && key.bytes().all(fits) {
        return key.to_owned();
    }
    let kept = key.bytes().take(KEY_LENGTH).map(|byte| if fits(byte) { char::from(byte) } else { '-' });
    format!("{}-{}", kept.collect::<String>(), Digest::of(key).short())
}

/// The backup of `key`, taken now or before. The caller holds the lock.
pub(super) async fn backup(work: Work<'_>, folder: &Path, key: &str, level: BackupLevel) -> Result<Backup> {
    work.check()?;
    let path = location(work, folder, key);
    if let Some(note) = noted(work, &path)? {
        return again(work, &path, note, level).await;
    }
    fs::create_dir_all(folder).map_err(|error| Error::io(work.operation, folder, error))?;
    let partial = Partial::new(work.operation, beside(&path, ".partial"))?;
    snapshot(work, partial.path()).await?;
    let (digest, size) = sealed(work, partial.path()).await?;
    let head = prove(work, partial.path(), level).await?;
    partial.place(work.operation, &path)?;
    let location = path.to_string_lossy();
    let backup = Backup::new(key, location, Some(digest), size, level, head);
    note(work, &path, &backup)?;
    Ok(backup)
}

/// One consistent copy in a single read transaction, whoever writes meanwhile.
async fn snapshot(work: Work<'_>, path: &Path) -> Result<()> {
    let exists = work.exists()?;
    let mut connection = if exists { work.connect(Mode::Write).await? } else { work.connect_empty().await? };
    let path_text = path.to_str().ok_or_else(|| work.error(ErrorKind::InvalidInput, "SQLite needs a path in UTF-8"))?;
    let absolute = std::path::absolute(path_text).map_err(|error| Error::io(work.operation, path, error))?;
    work.cx.status("copying the database");
    let copied = sqlx::query("VACUUM INTO ?").bind(absolute.to_string_lossy()).execute(&mut connection).await;
    copied.map_err(|error| work.classify(error).with_effect(Effect::None).with("backup", path.display()))?;
    work.close(connection).await;
    Ok(())
}

async fn sealed(work: Work<'_>, path: &Path) -> Result<(Digest, u64)> {
    let (cx, operation, path) = (work.cx.clone(), work.operation, path.to_owned());
    blocking(operation, move || disk::seal(&cx, operation, &path)).await
}

/// Proves the copy at `path` to `level`, as a database that stands for itself. Its head.
pub(super) async fn prove(work: Work<'_>, path: &Path, level: BackupLevel) -> Result<MigrationVersion> {
    let work_on_copy = Work { database: path, ..work };
    let mut connection = work_on_copy.connect_frozen(path).await.map_err(|error| unproven(work, path, error))?;
    let rows = Ledger::new(work_on_copy, &mut connection).rows().await.map_err(|error| unproven(work, path, error))?;
    if level >= BackupLevel::Checked {
        work.cx.status("checking the backup");
        let found = structure(work_on_copy, &mut connection).await.map_err(|error| unproven(work, path, error))?;
        if found > 0 {
            return Err(corrupt(work, path, &format!("SQLite's own check finds {found} problems in it")));
        }
        let dangling = foreign_keys(work_on_copy, &mut connection).await?;
        if dangling > 0 {
            explain_dangling(work, path, dangling).await?;
        }
    }
    work_on_copy.close(connection).await;
    Ok(rows.iter().rev().find(|row| row.success).map(|row| row.version).unwrap_or_default())
}

/// Rows of the copy refer to rows that are not there: right if it is so in the database too, which may never have
/// enforced its foreign keys.
async fn explain_dangling(work: Work<'_>, path: &Path, dangling: i64) -> Result<()> {
    let mut connection = work.connect(Mode::Read).await?;
    let present = foreign_keys(work, &mut connection).await?;
    work.close(connection).await;
    if present == 0 {
        return Err(corrupt(work, path, &format!("{dangling} rows of it refer to rows that are not there")));
    }
    work.cx.warn(format!("{present} rows of `{}` refer to rows that are not there", work.database.display()));
    Ok(())
}

fn unproven(work: Work<'_>, path: &Path, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Cancelled | ErrorKind::Timeout => error,
        _ => corrupt(work, path, "it cannot be opened as a database").with_source(error),
    }
}

fn corrupt(work: Work<'_>, path: &Path, why: &str) -> Error {
    work.error(ErrorKind::Corrupt, format!("the backup is not good: {why}"))
        .with("backup", path.display())
        .advice("check the disk and the database (`PRAGMA integrity_check`), and take a new backup under another key")
}

fn note_path(path: &Path) -> PathBuf {
    beside(path, ".json")
}

fn note(work: Work<'_>, path: &Path, backup: &Backup) -> Result<()> {
    let note = to_json(work.operation, backup)?;
    disk::write(work.operation, &note_path(path), format!("{note:#}\n").as_bytes())
}

/// What is noted of the backup at `path`. A file without a note is no backup.
fn noted(work: Work<'_>, path: &Path) -> Result<Option<Backup>> {
    let note = note_path(path);
    let Some(bytes) = disk::read(work.operation, &note)? else { return Ok(None) };
    let backup = serde_json::from_slice(&bytes).map_err(|error| {
        work.error(ErrorKind::Corrupt, "the note of a backup is not as it was written")
            .with("note", note.display())
            .advice("remove the note and its backup, or ask under another key")
            .with_source(error)
    })?;
    Ok(Some(backup))
}

/// The backup that exists, if it still is what was noted; proven further if more is asked now.
async fn again(work: Work<'_>, path: &Path, mut backup: Backup, level: BackupLevel) -> Result<Backup> {
    verify(work, path, &backup).await?;
    if backup.level < level {
        prove(work, path, level).await?;
        backup.level = level;
        note(work, path, &backup)?;
    }
    // The folder may have been moved since.
    backup.location = path.to_string_lossy().into_owned();
    Ok(backup)
}

/// Whether the file at `path` has the digest and size of `backup`.
async fn verify(work: Work<'_>, path: &Path, backup: &Backup) -> Result<()> {
    let (cx, operation, file) = (work.cx.clone(), work.operation, path.to_owned());
    let found = blocking(operation, move || disk::digest(&cx, operation, &file)).await?;
    same(work, path, backup, found)
}

/// Fails with `Corrupt` if what was found at `path` is not `backup`.
pub(super) fn same(work: Work<'_>, path: &Path, backup: &Backup, found: (Digest, u64)) -> Result<()> {
    if backup.size == found.1 && backup.digest.is_none_or(|digest| digest == found.0) {
        return Ok(());
    }
    let expected = backup.digest.map_or_else(|| "any digest".to_owned(), |digest| digest.to_string());
    let why = format!("it has {} bytes and {}, noted are {} bytes and {expected}", found.1, found.0, backup.size);
    Err(corrupt(work, path, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_makes_a_name_of_its_own() {
        assert_eq!(file_key("20261124T101530123Z-1f2e3d4c"), "20261124T101530123Z-1f2e3d4c");
        let keys = ["", "a/b", "a-b", "a b", "../a", &"x".repeat(200), &"x".repeat(201)];
        let names: std::collections::BTreeSet<String> = keys.iter().map(|key| file_key(key)).collect();
        assert_eq!(names.len(), keys.len());
        assert!(names.iter().all(|name| !name.contains('/') && name.len() < 130));
    }
}
