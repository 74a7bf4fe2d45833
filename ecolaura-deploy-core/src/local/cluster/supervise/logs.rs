//! What a pod printed: the last lines in memory, the last bytes in two files.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::redact::Redactor;

const LINES: usize = 500;

/// The size at which a log file is set aside, replacing the one that was set aside before.
const FILE_BYTES: u64 = 1024 * 1024;

/// How many files of ended pods are kept in a folder.
const FILES: usize = 20;

/// Orders lines of different pods.
static ORDER: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Inner {
    lines: VecDeque<(u64, String)>,
    file: Option<File>,
    size: u64,
}

/// The log of one pod. Secrets of its environment are taken out before a line is kept.
#[derive(Debug)]
pub(in super::super) struct PodLog {
    pub(in super::super) pod: String,
    path: PathBuf,
    redactor: Redactor,
    inner: Mutex<Inner>,
}

impl PodLog {
    /// A log in the file `POD.log` of `folder`. Without a file (a full disk) the lines in memory remain.
    pub(in super::super) fn new(folder: &Path, pod: &str, redactor: Redactor) -> Self {
        let path = folder.join(format!("{pod}.log"));
        _ = fs::create_dir_all(folder).and_then(|()| drop_oldest(folder));
        let file = open(&path).ok();
        let inner = Mutex::new(Inner { lines: VecDeque::new(), file, size: 0 });
        Self { pod: pod.to_owned(), path, redactor, inner }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one line.
    pub(super) fn line(&self, line: &str) {
        let line = self.redactor.redact(line);
        let mut inner = self.inner();
        if inner.size > FILE_BYTES {
            _ = fs::rename(&self.path, self.path.with_extension("log.1"));
            inner.file = open(&self.path).ok();
            inner.size = 0;
        }
        if let Some(file) = &mut inner.file {
            _ = file.write_all(format!("{line}\n").as_bytes());
            inner.size += line.len() as u64 + 1;
        }
        if inner.lines.len() == LINES {
            inner.lines.pop_front();
        }
        inner.lines.push_back((ORDER.fetch_add(1, Ordering::Relaxed), line.into_owned()));
    }

    /// The last lines, each with its place among all pods' lines.
    pub(in super::super) fn last(&self, lines: usize) -> Vec<(u64, String)> {
        let inner = self.inner();
        inner.lines.iter().skip(inner.lines.len().saturating_sub(lines)).cloned().collect()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).open(path)
}

fn drop_oldest(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let extra = files.len().saturating_sub(FILES);
    files.into_iter().take(extra).try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn it_is_bounded_and_holds_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let redactor = Redactor::new();
        redactor.register(&Secret::new("hunter2-hunter2".to_owned()));
        let log = PodLog::new(folder.path(), "a-1", redactor);
        for number in 0..30_000 {
            log.line(&format!("line {number} hunter2-hunter2 {}", "x".repeat(80)));
        }
        assert_eq!(log.last(usize::MAX).len(), LINES);
        assert!(log.last(1)[0].1.starts_with("line 29999 [redacted]"));
        let sizes: u64 = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(sizes > FILE_BYTES && sizes < 2 * FILE_BYTES + 1024, "{sizes}");
    }

    #[test]
    fn files_of_old_pods_go() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..FILES + 5 {
            PodLog::new(folder.path(), &format!("a-{number}"), Redactor::new()).line("x");
        }
        assert!(fs::read_dir(folder.path()).unwrap().count() <= FILES + 1);
    }
}
