//! Putting a backup in the place of the database.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use tokio::time::Instant;

use super::{
    backup::{prove, same},
    blocking,
    connection::{Mode, Work},
    disk::{self, Partial},
    fence::{admitted, carry, claim},
    lock::{PAUSE, beside},
};
use crate::{
    Effect, Error, ErrorKind, Result,
    backend::{Backup, BackupLevel},
    context::to_json,
    vocabulary::Digest,
};

/// What SQLite keeps beside a database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What the last restore did, so that doing it again does nothing.
#[derive(Debug, Serialize, Deserialize)]
struct Restored {
    key: String,
    /// The database's digest right after it.
    digest: Digest,
    kept: PathBuf,
}

/// Restores `backup`; where the replaced database is. The caller holds the lock.
pub(super) async fn restore(work: Work<'_>, backup: &Backup) -> Result<PathBuf> {
    work.check()?;
    let (known, epochs) = admitted(work).await?;
    if let Some(kept) = done_before(work, backup).await? {
        if epochs != known {
            claim(work).await?;
            note(work, backup, present(work).await?, &kept)?;
        }
        return Ok(kept);
    }
    let partial = Partial::new(work.operation, beside(work.database, ".restoring"))?;
    fill(work, backup, partial.path()).await?;
    carry(Work { database: partial.path(), ..work }, &epochs).await?;
    let replaced = work.exists()?;
    let kept = if replaced { kept_path(work, &backup.key)? } else { work.database.to_owned() };
    let holder = if replaced { hold(work).await? } else { Held::Nobody };
    let digest = match swap(work, partial, &kept, &holder, replaced).await {
        Ok(digest) => digest,
        Err(error) => {
            holder.give_back(work).await;
            return Err(error);
        }
    };
    holder.release(work).await;
    note(work, backup, digest, &kept)?;
    Ok(kept)
}

/// Notes that `backup` is in the place of what is `kept`.
fn note(work: Work<'_>, backup: &Backup, digest: Digest, kept: &Path) -> Result<()> {
    let note = Restored { key: backup.key.clone(), digest, kept: kept.to_owned() };
    let note = to_json(work.operation, &note)?;
    disk::write(work.operation, &note_path(work.database), note.to_string().as_bytes())
        .map_err(|error| error.with_effect(Effect::Complete))
}

/// Puts `partial` in the place of the database, whose log it gets. Its digest.
async fn swap(work: Work<'_>, partial: Partial, kept: &Path, holder: &Held, replaced: bool) -> Result<Digest> {
    if holder.has_log() {
        let copy = Work { database: partial.path(), ..work };
        let mut connection = copy.connect(Mode::Write).await?;
        work.execute(&mut connection, "PRAGMA journal_mode = WAL").await?;
        copy.close(connection).await;
    }
    let digest = sealed(work, partial.path(), replaced).await?;
    work.check()?;
    if !replaced {
        return partial.place(work.operation, work.database).map(|()| digest);
    }
    let put = keep(work, kept).and_then(|()| partial.place(work.operation, work.database));
    put.map(|()| digest).inspect_err(|_| unkeep(work, kept))
}

fn note_path(database: &Path) -> PathBuf {
    beside(database, ".restored.json")
}

/// Where the replaced database is, if `backup` was restored last and nothing was written since.
async fn done_before(work: Work<'_>, backup: &Backup) -> Result<Option<PathBuf>> {
    let Some(bytes) = disk::read(work.operation, &note_path(work.database))? else { return Ok(None) };
    // A note that cannot be read only costs doing it once more.
    let Ok(note) = serde_json::from_slice::<Restored>(&bytes) else { return Ok(None) };
    let log = fs::metadata(beside(work.database, "-wal")).map_or(0, |found| found.len());
    if note.key != backup.key || log > 0 || !note.kept.exists() || !work.exists()? {
        return Ok(None);
    }
    Ok((present(work).await? == note.digest).then_some(note.kept))
}

/// The digest of the database's file.
async fn present(work: Work<'_>) -> Result<Digest> {
    let (cx, operation, path) = (work.cx.clone(), work.operation, work.database.to_owned());
    Ok(blocking(operation, move || disk::digest(&cx, operation, &path)).await?.0)
}

/// Copies the backup to `target` and proves that the copy is it, and a database.
async fn fill(work: Work<'_>, backup: &Backup, target: &Path) -> Result<()> {
    let source = PathBuf::from(&backup.location);
    if !source.is_file() {
        let message = format!("there is no backup `{}`", backup.location);
        return Err(work
            .error(ErrorKind::NotFound, message)
            .with("key", &backup.key)
            .advice("look in the folder of backups, or restore another one"));
    }
    let (cx, operation, from, to) = (work.cx.clone(), work.operation, source.clone(), target.to_owned());
    let found = blocking(operation, move || disk::copy(&cx, operation, &from, Some(&to))).await?;
    same(work, &source, backup, found)?;
    prove(work, target, BackupLevel::Restored).await.map(drop)
}

async fn sealed(work: Work<'_>, path: &Path, like_database: bool) -> Result<Digest> {
    let (cx, operation, path, database) = (work.cx.clone(), work.operation, path.to_owned(), work.database.to_owned());
    blocking(operation, move || {
        if like_database {
            let mode = fs::metadata(&database).map_err(|error| Error::io(operation, &database, error))?.permissions();
            fs::set_permissions(&path, mode).map_err(|error| Error::io(operation, &path, error))?;
        }
        Ok(disk::seal(&cx, operation, &path)?.0)
    })
    .await
}

/// Who holds the database while it is replaced.
enum Held {
    /// There is none, or it is too damaged to be opened.
    Nobody,
    /// This connection, so that nobody else can.
    By { connection: SqliteConnection, log: bool },
}

impl Held {
    fn has_log(&self) -> bool {
        matches!(self, Self::By { log: true, .. })
    }

    /// Leaves the database as it was before it was held, also after a cancel.
    async fn give_back(self, work: Work<'_>) {
        let Self::By { mut connection, log: true } = self else { return };
        // Fails where no transaction was begun.
        _ = sqlx::raw_sql("ROLLBACK").execute(&mut connection).await;
        let back = async {
            connection.lock_handle().await?.remove_progress_handler();
            sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut connection).await
        };
        if let Err(error) = back.await {
            work.cx.warn(format!("the database has no write-ahead log any more: {error}"));
        }
    }

    async fn release(self, work: Work<'_>) {
        if let Self::By { connection, .. } = self {
            work.close(connection).await;
        }
    }
}

/// Makes sure that nobody else uses the database, and that all of it is in its one file. Waits for others until patience
/// is over.
async fn hold(work: Work<'_>) -> Result<Held> {
    let mut connection = match work.connect(Mode::Write).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(Held::Nobody),
        connected => connected?,
    };
    let held = match wait_alone(work, &mut connection).await {
        Ok(log) => return Ok(Held::By { connection, log }),
        Err(error) => error,
    };
    match held.kind() {
        ErrorKind::Corrupt => Ok(Held::Nobody),
        ErrorKind::Conflict => Err(held.advice("stop the services that use the database, and run again")),
        _ => Err(held),
    }
}

/// Asks again and again: SQLite does not wait by itself when a database leaves its write-ahead log. Whether it had one.
async fn wait_alone(work: Work<'_>, connection: &mut SqliteConnection) -> Result<bool> {
    let log = has_log(work, connection).await?;
    work.execute(connection, "PRAGMA busy_timeout = 0").await?;
    work.cx.status("waiting until nobody else uses the database");
    let began = Instant::now();
    loop {
        work.check()?;
        match alone(work, connection).await {
            Err(error) if error.kind() == ErrorKind::Conflict && began.elapsed() < work.patience => {
                work.cx.sleep(work.operation, PAUSE).await?;
            }
            answer => return answer.map(|()| log),
        }
    }
}

/// Takes the database for `connection` alone, or leaves it as it is. Leaving the write-ahead log needs every other
/// connection to be gone, idle or not; another one may bring it back before this one has the lock.
async fn alone(work: Work<'_>, connection: &mut SqliteConnection) -> Result<()> {
    let was_log = has_log(work, connection).await?;
    work.execute(connection, "PRAGMA journal_mode = DELETE").await?;
    let taken = match work.execute(connection, "BEGIN EXCLUSIVE").await {
        Ok(()) if !has_log(work, connection).await? => return Ok(()),
        Ok(()) => work.execute(connection, "ROLLBACK").await.and(Err(work.busy())),
        busy => busy,
    };
    if was_log {
        // Somebody is there already; whoever comes last sees to it.
        _ = work.execute(connection, "PRAGMA journal_mode = WAL").await;
    }
    taken
}

async fn has_log(work: Work<'_>, connection: &mut SqliteConnection) -> Result<bool> {
    let mode: Result<String, _> = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(connection).await;
    mode.map(|mode| mode == "wal").map_err(|error| work.classify(error))
}

/// A name that is free for the replaced database.
fn kept_path(work: Work<'_>, key: &str) -> Result<PathBuf> {
    let short = Digest::of(key).short();
    let names = (1_u32..).map(|number| beside(work.database, &format!(".replaced-{short}-{number}")));
    for path in names.take(10_000) {
        if !path.try_exists().map_err(|error| Error::io(work.operation, &path, error))? {
            return Ok(path);
        }
    }
    Err(work.error(ErrorKind::LimitExceeded, "10000 replaced databases are kept beside it").advice("remove old ones"))
}

/// Gives the database its second name `kept`, and moves there what SQLite keeps beside it: it would be taken for the
/// restored one's. The database's own name stays until the restored one takes it.
fn keep(work: Work<'_>, kept: &Path) -> Result<()> {
    fs::hard_link(work.database, kept).map_err(|error| Error::io(work.operation, kept, error))?;
    for companion in COMPANIONS {
        let (from, to) = (beside(work.database, companion), beside(kept, companion));
        match fs::rename(&from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(work.operation, from, error));
            }
            _ => {}
        }
    }
    disk::sync_folder(work.operation, kept)
}

/// Takes back what [`keep`] did, as far as it came.
fn unkeep(work: Work<'_>, kept: &Path) {
    for companion in COMPANIONS {
        _ = fs::rename(beside(kept, companion), beside(work.database, companion));
    }
    _ = fs::remove_file(kept);
}
