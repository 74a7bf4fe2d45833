//! Digests of files that are remembered from one reading of a site to the next.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    digesting::{self, Measured, each},
    source::OPERATION,
};
use crate::{
    Context, Error, Result,
    files::{blocking, read_if_there, replace},
    vocabulary::Digest,
};

/// The format that is read and written; another one is forgotten.
const FORMAT: u32 = 1;
/// How long a file must have been at rest when it was read, so that its times would tell of a later write: the coarsest
/// clock among common file systems, that of FAT, has steps of two seconds.
const REST: SignedDuration = SignedDuration::from_secs(2);

/// Measures `files` as [`digesting::measure`] does, but for those that `memory`, a file, tells to be unchanged, and brings
/// it up to date.
pub(super) async fn measure(cx: &Context, files: Vec<PathBuf>, memory: &Path) -> Result<Vec<Measured>> {
    let (at, names) = (memory.to_owned(), files.clone());
    let former = Arc::new(blocking(OPERATION, move || Ok(Memory::read(&at))).await?);
    let known = Arc::clone(&former);
    let found = each(cx, OPERATION, files, move |cx, path, buffer| measure_one(cx, path, &known, buffer)).await?;
    let (cx, at) = (cx.clone(), memory.to_owned());
    let keep = move || {
        let learned = names.into_iter().zip(&found).filter_map(|(file, found)| Some((file, found.as_ref().ok()?.1?)));
        former.replace(&cx, &at, learned);
        Ok(found.into_iter().map(|found| found.map(|(measure, _)| measure)).collect())
    };
    blocking(OPERATION, keep).await
}

/// What a file is, and what may be remembered of it.
fn measure_one(
    cx: &Context,
    path: &Path,
    memory: &Memory,
    buffer: &mut [u8],
) -> Result<((Digest, u64), Option<Learned>)> {
    let metadata = fs::metadata(path).map_err(|error| Error::io(OPERATION, path, error))?;
    if let Some(learned) = memory.recall(path, &metadata) {
        return Ok((learned.measure(), Some(learned)));
    }
    let now = cx.clock().now();
    let measure = digesting::read(cx, OPERATION, path, buffer)?;
    let learned = Learned::new(Stamp::of(&metadata), now, measure.0);
    // A file that grows meanwhile is not at rest.
    Ok((measure, learned.filter(|learned| learned.measure() == measure)))
}

/// By what a file is taken for unchanged. The time of its modification can be set back by any program; the time at which
/// its inode changed cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: Timestamp,
    changed: Timestamp,
}

impl Stamp {
    /// `None` where the system does not tell all of it.
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let time = |seconds, nanoseconds: i64| Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok();
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: time(metadata.mtime(), metadata.mtime_nsec())?,
            changed: time(metadata.ctime(), metadata.ctime_nsec())?,
        })
    }

    /// `None` where the system does not tell all of it.
    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Self> {
        None
    }

    /// Whether the times of a write after `now` would be others. A time in the future tells nothing.
    fn rests(&self, now: Timestamp) -> bool {
        now.checked_sub(REST).is_ok_and(|before| self.modified < before && self.changed < before)
    }
}

/// What was learned of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Learned {
    stamp: Stamp,
    digest: Digest,
}

impl Learned {
    /// Of a file that had `stamp` before it was read at `now`; `None` if that would not show a later write.
    fn new(stamp: Option<Stamp>, now: Timestamp, digest: Digest) -> Option<Self> {
        Some(Self { stamp: stamp.filter(|stamp| stamp.rests(now))?, digest })
    }

    fn measure(&self) -> (Digest, u64) {
        (self.digest, self.stamp.size)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Document<F> {
    format: u32,
    files: F,
}

/// What is remembered of files, by path.
#[derive(Debug, Default)]
struct Memory(HashMap<String, Learned>);

impl Memory {
    /// What `path` holds. What cannot be read or understood is nothing: then every file is read.
    fn read(path: &Path) -> Self {
        let bytes = read_if_there(OPERATION, path).ok().flatten().unwrap_or_default();
        match serde_json::from_slice::<Document<HashMap<String, Learned>>>(&bytes) {
            Ok(document) if document.format == FORMAT => Self(document.files),
            _ => Self::default(),
        }
    }

    /// What was learned of `path`, if it is still as it was then.
    fn recall(&self, path: &Path, metadata: &Metadata) -> Option<Learned> {
        let learned = self.0.get(path.to_str()?)?;
        (Some(learned.stamp) == Stamp::of(metadata)).then_some(*learned)
    }

    /// Makes `path` hold what is known of files now, and of no others. If it cannot, the next one reads every file.
    fn replace(&self, cx: &Context, path: &Path, files: impl Iterator<Item = (PathBuf, Learned)>) {
        let files = files.filter_map(|(file, learned)| Some((file.to_str()?.to_owned(), learned)));
        let files: HashMap<String, Learned> = files.collect();
        if files == self.0 {
            return;
        }
        let written = serde_json::to_vec(&Document { format: FORMAT, files })
            .map_err(|error| error.to_string())
            .and_then(|content| replace(OPERATION, path, &content).map_err(|error| error.report()));
        if let Err(why) = written {
            cx.warn(format!("the digests of the site's files are not remembered: {why}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_written_just_now_or_in_the_future_is_not_trusted() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let learned = |modified, changed| {
            let stamp = Stamp { device: 1, inode: 2, size: 3, modified: at(modified), changed: at(changed) };
            Learned::new(Some(stamp), at(1000), Digest::of("x"))
        };
        assert_eq!(learned(997, 997).unwrap().measure(), (Digest::of("x"), 3));
        for (modified, changed) in [(998, 997), (997, 998), (2000, 997), (997, 2000)] {
            assert_eq!(learned(modified, changed), None, "{modified} {changed}");
        }
    }
}
