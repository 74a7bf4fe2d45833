//! What the backends' looking after leftovers has in common: files that are listed under a lock, and removed under it.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{Context, Error, ErrorKind, Result, backend::Leftover};

/// How old a thing must be that no lock tells from one in use.
pub(crate) const GRACE: Duration = Duration::from_hours(1);

/// What a listing is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Only to say what there is: nothing is written.
    Look,
    /// To remove what is listed, while the locks of the listing are held.
    Clean,
}

/// One file or folder that is left over.
#[derive(Debug, Clone)]
pub(crate) struct Remnant {
    pub(crate) path: PathBuf,
    pub(crate) leftover: Leftover,
}

/// How a kind of remnant is spoken of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sort {
    pub(crate) kind: &'static str,
    pub(crate) found: &'static str,
}

impl Remnant {
    /// The file or folder at `path`, which is there.
    pub(crate) fn new(path: PathBuf, seen: &Metadata, sort: Sort) -> Self {
        let folder = seen.is_dir();
        let action = if folder { "remove the folder" } else { "remove the file" };
        let bytes = if folder { size_below(&path) } else { seen.len() };
        let leftover = Leftover::new(sort.kind, path.display().to_string(), sort.found, action).bytes(bytes);
        let leftover = match written(seen) {
            Some(since) => leftover.since(since),
            None => leftover,
        };
        Self { path, leftover }
    }

    fn is(&self, other: &Leftover) -> bool {
        self.leftover.kind == other.kind && self.leftover.object == other.object
    }
}

/// What is left over, and the locks under which that is so.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) remnants: Vec<Remnant>,
    pub(crate) locks: Vec<File>,
    /// Places in which somebody works, where nothing was listed for that reason.
    pub(crate) busy: Vec<PathBuf>,
}

impl Listing {
    /// Takes the lock at `path` for this listing; no if somebody has it.
    pub(crate) fn alone(&mut self, operation: &'static str, path: &Path, purpose: Purpose) -> Result<bool> {
        let opened = match purpose {
            Purpose::Look => File::open(path),
            Purpose::Clean => File::options().create(true).truncate(false).write(true).open(path),
        };
        let file = match opened {
            // Where nobody ever made a lock, nobody has it; where there is no folder, there is nothing at all.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            opened => opened.map_err(|error| Error::io(operation, path, error))?,
        };
        match file.try_lock() {
            Ok(()) => {
                self.locks.push(file);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => {
                self.busy.push(path.parent().unwrap_or(Path::new(".")).to_owned());
                Ok(false)
            }
            Err(TryLockError::Error(error)) => Err(Error::io(operation, path, error)),
        }
    }
}

/// Lists off the runtime's threads.
pub(crate) async fn look(
    operation: &'static str,
    list: impl FnOnce(Purpose) -> Result<Listing> + Send + 'static,
) -> Result<Vec<Leftover>> {
    let unit = move || Ok(list(Purpose::Look)?.remnants.into_iter().map(|remnant| remnant.leftover).collect());
    blocking(operation, unit).await
}

/// Removes `leftover` if it is still listed. Fails with `Conflict` if somebody works where it lies.
pub(crate) async fn clean(
    operation: &'static str,
    leftover: &Leftover,
    list: impl FnOnce(Purpose) -> Result<Listing> + Send + 'static,
) -> Result<()> {
    clean_by(operation, leftover, list, move |path| remove(operation, path)).await
}

/// The same, where more is to be done than to remove it.
pub(crate) async fn clean_by(
    operation: &'static str,
    leftover: &Leftover,
    list: impl FnOnce(Purpose) -> Result<Listing> + Send + 'static,
    remove: impl FnOnce(&Path) -> Result<()> + Send + 'static,
) -> Result<()> {
    let wanted = leftover.clone();
    let unit = move || {
        let listing = list(Purpose::Clean)?;
        if let Some(remnant) = listing.remnants.iter().find(|remnant| remnant.is(&wanted)) {
            return remove(&remnant.path);
        }
        let object = Path::new(&wanted.object);
        match listing.busy.iter().any(|place| object.starts_with(place)) && object.exists() {
            true => Err(busy(operation, &wanted)),
            false => Ok(()),
        }
    };
    blocking(operation, unit).await
}

pub(crate) fn busy(operation: &'static str, leftover: &Leftover) -> Error {
    let message = format!("`{}` may be in use: somebody works there now", leftover.object);
    Error::new(ErrorKind::Conflict, operation, message).advice("try again when that has ended")
}

/// Runs file work off the runtime's threads. It runs to its end also if nobody waits any more.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let join = tokio::task::spawn_blocking(work).await;
    join.map_err(|error| Error::internal(operation, "file work panicked").with_source(error))?
}

/// The entries of a folder, by name; none if it is not there.
pub(crate) fn entries(operation: &'static str, folder: &Path) -> Result<Vec<(String, PathBuf, Metadata)>> {
    let failed = |error| Error::io(operation, folder, error);
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    let mut entries = Vec::new();
    for entry in listed {
        let entry = entry.map_err(failed)?;
        // What somebody removed meanwhile is not there; what is not UTF-8 is not ours.
        if let (Ok(seen), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) {
            entries.push((name, entry.path(), seen));
        }
    }
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(entries)
}

/// Whether it was last written before `grace` began. A time in the future is no age.
pub(crate) fn is_older(now: Timestamp, seen: &Metadata, grace: Duration) -> bool {
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    written(seen).is_some_and(|written| now.duration_since(written) >= grace)
}

/// When it was last written, as its file system says.
pub(crate) fn written(seen: &Metadata) -> Option<Timestamp> {
    Timestamp::try_from(seen.modified().ok()?).ok()
}

/// Whether `cx` should go on, and what its clock says: listings work off the runtime.
pub(crate) fn begin(cx: &Context, operation: &'static str) -> Result<Timestamp> {
    cx.check(operation)?;
    Ok(cx.clock().now())
}

fn size_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(seen) if seen.is_dir() => size_below(&entry.path()),
        Ok(seen) => seen.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Removes a file, or a folder with all below it; what is gone is success. Links are not followed.
pub(crate) fn remove(operation: &'static str, path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(seen) if seen.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(operation, path, error)),
        _ => Ok(()),
    }
}

/// Real work in a process of its own, which a test kills.
#[cfg(test)]
pub(crate) mod tests {
    use std::{
        process::{Child, Command, Stdio},
        sync::Arc,
    };

    use super::*;
    use crate::{
        backend::Inspect,
        clock::{Clock as _, FixedClock, SystemClock},
    };

    const DIR: &str = "ECOLAURA_TEST_LEFTOVERS_DIR";

    /// The folder to work in, if this process was started by [`Worker::start`].
    pub(crate) fn dir_of_worker() -> Option<PathBuf> {
        std::env::var_os(DIR).map(PathBuf::from)
    }

    /// This test program, running one test only. Killed with the test that started it, however that ends.
    #[derive(Debug)]
    pub(crate) struct Worker(Child);

    impl Worker {
        pub(crate) fn start(test: &str, dir: &Path) -> Self {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", test, "--nocapture"]).env(DIR, dir);
            Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        }

        /// Waits until `reached` holds while the work goes on.
        pub(crate) fn until(&mut self, reached: impl Fn() -> bool) {
            while !reached() {
                assert!(self.0.try_wait().unwrap().is_none(), "the work ended before it could be killed");
                std::thread::sleep(Duration::from_millis(1));
            }
        }

        /// With `kill -9`.
        pub(crate) fn kill(mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    impl Drop for Worker {
        fn drop(&mut self) {
            _ = self.0.kill();
            _ = self.0.wait();
        }
    }

    pub(crate) fn cx() -> Context {
        Context::new("test".parse().unwrap())
    }

    /// A context whose clock is `hours` ahead.
    pub(crate) fn later(hours: i64) -> Context {
        let then = SystemClock.now() + SignedDuration::from_hours(hours);
        cx().with_clock(Arc::new(FixedClock::new(then)))
    }

    /// What is found, sorted: the kind, and the object's last part.
    pub(crate) async fn found(backend: &dyn Inspect, cx: &Context) -> Vec<(String, String)> {
        let found = backend.leftovers(cx).await.unwrap().into_iter();
        let mut found: Vec<_> =
            found.map(|left| (left.kind, left.object.rsplit('/').next().unwrap_or_default().to_owned())).collect();
        found.sort();
        found
    }

    /// The kinds alone.
    pub(crate) async fn kinds(backend: &dyn Inspect, cx: &Context) -> Vec<String> {
        found(backend, cx).await.into_iter().map(|(kind, _)| kind).collect()
    }

    /// Cleans everything up, twice, and expects nothing to be left.
    pub(crate) async fn clean_all(backend: &dyn Inspect, cx: &Context) {
        let left = backend.leftovers(cx).await.unwrap();
        assert!(!left.is_empty());
        for _ in 0..2 {
            for one in &left {
                backend.clean(cx, one).await.unwrap();
            }
        }
        assert_eq!(backend.leftovers(cx).await.unwrap(), []);
    }

    /// A pipe that is read as a file and ends only with this value: whoever copies it waits in the middle.
    pub(crate) fn endless_file(path: &Path) -> File {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        let mut pipe = File::options().read(true).write(true).open(path).unwrap();
        io::Write::write_all(&mut pipe, b"the first bytes").unwrap();
        pipe
    }

    /// Whether the folder holds something that matches.
    pub(crate) fn holds(folder: &Path, wanted: impl Fn(&str) -> bool) -> bool {
        entries("test", folder).unwrap().iter().any(|(name, _, _)| wanted(name))
    }
}
