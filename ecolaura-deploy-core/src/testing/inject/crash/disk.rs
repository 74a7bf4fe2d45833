//! Objects that are written, flushed, lost and damaged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::super::process::Process;
use crate::{Effect, Error, ErrorKind, Result, store::Created, vocabulary::Digest};

/// Where in a create the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashPoint {
    /// Before anything is written.
    BeforeAppend,
    /// It is written and not flushed: the object is lost with the machine's memory.
    AfterAppendBeforeFsync,
    /// It is durable, and the process never hears of it.
    AfterFsync,
}

impl CrashPoint {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::BeforeAppend, Self::AfterAppendBeforeFsync, Self::AfterFsync];

    /// As in the name of a case: `after-fsync`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeAppend => "before-append",
            Self::AfterAppendBeforeFsync => "before-fsync",
            Self::AfterFsync => "after-fsync",
        }
    }
}

/// What goes wrong in a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFault {
    /// The process dies, and with it what was not flushed.
    Crash(CrashPoint),
    /// The disk is full: nothing is written.
    NoSpace,
    /// Flushing fails. Where `kept`, the object can be read until the next crash; otherwise it is gone at once.
    FsyncFailed {
        /// Whether it can still be read.
        kept: bool,
    },
    /// The file system is read-only: nothing is written.
    ReadOnly,
    /// The right to write is missing: nothing is written.
    NoPermission,
}

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// One create.
    Once,
    /// From that create on, until the disk is healed.
    FromThen,
}

/// How a stored object is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// It has no bytes.
    Empty,
    /// Its second half is gone.
    Truncated,
    /// One bit in its middle is another.
    BitFlip,
    /// It is gone.
    Missing,
    /// A copy of it stands under the next number, in the place of what was there.
    Duplicate,
}

impl Damage {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Empty, Self::Truncated, Self::BitFlip, Self::Missing, Self::Duplicate];

    /// As in the name of a case: `bit-flip`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::BitFlip => "bit-flip",
            Self::Missing => "missing",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A create that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Create {
    /// The key.
    pub key: String,
    /// The number of the process.
    pub process: u32,
    /// What went wrong.
    pub fault: Option<StoreFault>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    /// Written and not flushed.
    volatile: BTreeSet<String>,
    /// What a caller was told is durable.
    acknowledged: BTreeMap<String, Digest>,
    written: BTreeMap<String, Vec<Bytes>>,
    removed: Vec<String>,
    damaged: BTreeSet<String>,
    /// Which process wrote each object, removed ones included.
    authors: BTreeMap<String, u32>,
    creates: Vec<Create>,
    ordered: Vec<(usize, StoreFault, Lasting)>,
}

impl Disk {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the process die at the `nth` create, counted over all processes from 1.
    pub fn crash_at(&self, nth: usize, point: CrashPoint) {
        self.fail_at(nth, StoreFault::Crash(point), Lasting::Once);
    }

    /// Lets the `nth` create fail, counted over all processes from 1.
    pub fn fail_at(&self, nth: usize, fault: StoreFault, lasting: Lasting) {
        self.state().ordered.push((nth, fault, lasting));
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        self.state().ordered.clear();
    }

    /// Every create that was asked for, in order.
    pub fn creates(&self) -> Vec<Create> {
        self.state().creates.clone()
    }

    /// What is there, sorted by key.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.state().objects.clone()
    }

    /// Every object that was ever durable, whether it was damaged or removed since. Several under one key, in order, where
    /// one was gone before the next was written.
    pub fn written(&self) -> BTreeMap<String, Vec<Bytes>> {
        self.state().written.clone()
    }

    /// The keys of what is there, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// What a caller was told is durable and did not remove, with the digest of its bytes.
    pub fn acknowledged(&self) -> BTreeMap<String, Digest> {
        self.state().acknowledged.clone()
    }

    /// The keys that were removed, in order.
    pub fn removed(&self) -> Vec<String> {
        self.state().removed.clone()
    }

    /// The keys that [`Disk::damage`] touched.
    pub fn damaged(&self) -> BTreeSet<String> {
        self.state().damaged.clone()
    }

    /// Which process wrote each object, sorted by key, those that were removed since included.
    pub(crate) fn authors(&self) -> BTreeMap<String, u32> {
        self.state().authors.clone()
    }

    /// Loses what was written and not flushed.
    pub fn lose_power(&self) {
        let mut state = self.state();
        let lost = std::mem::take(&mut state.volatile);
        state.objects.retain(|key, _| !lost.contains(key));
        state.authors.retain(|key, _| !lost.contains(key));
    }

    /// Damages the object under `key`. Answers whether there was one, and a next number where that is needed.
    pub fn damage(&self, key: &str, damage: Damage) -> bool {
        let mut state = self.state();
        let Some(body) = state.objects.get(key).cloned() else { return false };
        let mut bytes = body.to_vec();
        let middle = bytes.len() / 2;
        let mut target = key.to_owned();
        match damage {
            Damage::Empty => bytes.clear(),
            Damage::Truncated => bytes.truncate(middle),
            Damage::BitFlip => bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1),
            Damage::Duplicate => match next_number(key) {
                Some(next) => target = next,
                None => return false,
            },
            Damage::Missing => {}
        }
        if damage == Damage::Missing {
            state.objects.remove(key);
        } else {
            state.objects.insert(target.clone(), bytes.into());
        }
        state.damaged.insert(target);
        true
    }

    /// Counts a create and tells what goes wrong with it.
    pub(super) fn count(&self, key: &str, process: &Process) -> Option<StoreFault> {
        let mut state = self.state();
        let nth = state.creates.len() + 1;
        let hits = |(first, _, lasting): &&(usize, StoreFault, Lasting)| match lasting {
            Lasting::Once => *first == nth,
            Lasting::FromThen => *first <= nth,
        };
        let fault = state.ordered.iter().find(hits).map(|(_, fault, _)| *fault);
        state.creates.push(Create { key: key.to_owned(), process: process.number(), fault });
        fault
    }

    /// What a create answers if the key is taken: the same body is the caller's own.
    pub(super) fn present(&self, key: &str, body: &Bytes) -> Option<Created> {
        let present = self.get(key)?;
        Some(if present == *body { Created::Yes } else { Created::Exists })
    }

    /// Whether the next loss of power takes it.
    pub(super) fn is_volatile(&self, key: &str) -> bool {
        self.state().volatile.contains(key)
    }

    pub(super) fn append(&self, key: &str, body: &Bytes, author: &Process) {
        let mut state = self.state();
        state.authors.insert(key.to_owned(), author.number());
        state.objects.insert(key.to_owned(), body.clone());
        state.volatile.insert(key.to_owned());
    }

    pub(super) fn fsync(&self, key: &str) {
        let mut state = self.state();
        state.volatile.remove(key);
        if let Some(body) = state.objects.get(key).cloned() {
            let written = state.written.entry(key.to_owned()).or_default();
            if written.last() != Some(&body) {
                written.push(body);
            }
        }
    }

    pub(super) fn fail_fsync(&self, key: &str, kept: bool) -> Error {
        if !kept {
            let mut state = self.state();
            state.objects.remove(key);
            state.volatile.remove(key);
            state.authors.remove(key);
        }
        Error::new(ErrorKind::Unavailable, "store.create", format!("record `{key}`: input/output error when flushed"))
            .with_effect(Effect::Unknown)
    }

    pub(super) fn acknowledge(&self, key: &str) {
        let mut state = self.state();
        if let Some(digest) = state.objects.get(key).map(Digest::of) {
            state.acknowledged.insert(key.to_owned(), digest);
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Bytes> {
        self.state().objects.get(key).cloned()
    }

    pub(super) fn below(&self, prefix: &str) -> Vec<String> {
        let prefix = format!("{prefix}/");
        self.state().objects.keys().filter(|key| key.starts_with(&prefix)).cloned().collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as every call of a store")]
    pub(super) fn remove(&self, key: &str) -> Result<()> {
        let mut state = self.state();
        state.objects.remove(key);
        state.volatile.remove(key);
        state.acknowledged.remove(key);
        state.removed.push(key.to_owned());
        Ok(())
    }
}

/// The error of a create that does not begin.
pub(super) fn refusal(fault: Option<StoreFault>, key: &str) -> Option<Error> {
    let (kind, why) = match fault? {
        StoreFault::NoSpace => (ErrorKind::LimitExceeded, "no space left on the disk"),
        StoreFault::ReadOnly => (ErrorKind::PermissionDenied, "the file system is read-only"),
        StoreFault::NoPermission => (ErrorKind::PermissionDenied, "permission denied"),
        StoreFault::Crash(_) | StoreFault::FsyncFailed { .. } => return None,
    };
    Some(Error::new(kind, "store.create", format!("record `{key}`: {why}")))
}

/// `a/00000007` after `a/00000006`.
fn next_number(key: &str) -> Option<String> {
    let (folder, name) = key.rsplit_once('/')?;
    let next = name.parse::<u64>().ok()? + 1;
    Some(format!("{folder}/{next:0width$}", width = name.len()))
}
