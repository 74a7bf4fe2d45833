//! A run store on a disk that outlives its processes.

mod disk;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::disk::{CrashPoint, Create, Damage, Disk, Lasting, StoreFault};
use super::process::Process;
use crate::{
    Result,
    store::{Created, RunStore},
};

/// What one process sees of a [`Disk`]: a [`RunStore`] whose creates are durable when they return, and only then.
///
/// A create writes into the disk's volatile layer, is flushed, and returns. The disk can be told to let the process die
/// in between, or to fail. After the death of its process no call returns. A call that is dropped leaves the object
/// whole or absent.
///
/// ```
/// # async fn example() -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::{store::RunStore, testing::inject::*};
/// let (disk, process) = (Disk::new(), Process::new(1));
/// disk.crash_at(2, CrashPoint::AfterAppendBeforeFsync);
/// let store = disk.store(&process);
/// store.create("a/1", "one".into()).await?;
/// tokio::select! {
///     _ = store.create("a/2", "two".into()) => unreachable!("it never returns"),
///     () = process.died() => {}
/// }
/// assert_eq!(disk.keys(), ["a/1"]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct CrashStore {
    disk: Disk,
    process: Process,
}

impl Disk {
    /// The store that `process` works with.
    pub fn store(&self, process: &Process) -> CrashStore {
        CrashStore { disk: self.clone(), process: process.clone() }
    }
}

impl CrashStore {
    async fn write(&self, key: &str, body: Bytes) -> Result<Created> {
        let fault = self.disk.count(key, &self.process);
        self.die_at(fault, CrashPoint::BeforeAppend).await;
        if let Some(error) = disk::refusal(fault, key) {
            return Err(error);
        }
        if let Some(exists) = self.disk.present(key, &body) {
            // What was durable stays, whatever comes of flushing it again.
            let fails = |fault: &StoreFault| matches!(fault, StoreFault::Crash(_)) || self.disk.is_volatile(key);
            self.flush(key, fault.filter(fails)).await?;
            return Ok(exists);
        }
        self.disk.append(key, &body, &self.process);
        self.flush(key, fault).await?;
        self.disk.acknowledge(key);
        Ok(Created::Yes)
    }

    async fn flush(&self, key: &str, fault: Option<StoreFault>) -> Result<()> {
        self.die_at(fault, CrashPoint::AfterAppendBeforeFsync).await;
        if let Some(StoreFault::FsyncFailed { kept }) = fault {
            return Err(self.disk.fail_fsync(key, kept));
        }
        self.disk.fsync(key);
        self.die_at(fault, CrashPoint::AfterFsync).await;
        Ok(())
    }

    async fn die_at(&self, fault: Option<StoreFault>, point: CrashPoint) {
        if fault == Some(StoreFault::Crash(point)) {
            self.disk.lose_power();
            self.process.kill();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RunStore for CrashStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        self.process.guard(self.write(key, body)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.process.guard(async { Ok(self.disk.get(key)) }).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.process.guard(async { Ok(self.disk.below(prefix)) }).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<String>> {
        let mut keys = self.list(prefix).await?;
        keys.retain(|key| key.as_str() > after);
        Ok(keys)
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let keys = self.list(prefix).await?;
        let below = |key: &String| Some(key.strip_prefix(prefix)?.strip_prefix('/')?.split('/').next()?.to_owned());
        let mut names: Vec<String> = keys.iter().filter_map(below).collect();
        names.dedup();
        Ok(names)
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.process.guard(async { self.disk.remove(key) }).await
    }
}
