//! Copies that did not end.

use std::sync::LazyLock;

use async_trait::async_trait;

use super::{KeptFolders, LOCK};
use crate::{
    Context, Result,
    backend::{Inspect, Leftover},
    leftovers::{self, Listing, Purpose, Remnant, Sort},
    vocabulary::Name,
};

const UNFINISHED: Sort =
    Sort { kind: "unfinished copy", found: "a folder was being kept when the process ended; nothing refers to it" };

#[expect(clippy::expect_used, reason = "a constant that follows the grammar of names")]
static NAME: LazyLock<Name> = LazyLock::new(|| Name::new("kept-folders").expect("a name"));

impl KeptFolders {
    /// Whoever copies holds the lock until its copy has its name.
    fn unfinished(&self, operation: &'static str, purpose: Purpose) -> Result<Listing> {
        let mut listing = Listing::default();
        if !listing.alone(operation, &self.dir.join(LOCK), purpose)? {
            return Ok(listing);
        }
        for (name, path, seen) in leftovers::entries(operation, &self.dir)? {
            if seen.is_dir() && is_scratch(&name) {
                listing.remnants.push(Remnant::new(path, &seen, UNFINISHED));
            }
        }
        Ok(listing)
    }
}

/// Whether `name` is `.DIGEST-PROCESS`, as copies are named.
fn is_scratch(name: &str) -> bool {
    let parts = name.strip_prefix('.').and_then(|name| name.split_once('-'));
    parts.is_some_and(|(digest, process)| {
        let hex = !digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex && !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[async_trait]
impl Inspect for KeptFolders {
    fn name(&self) -> &Name {
        &NAME
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        const OPERATION: &str = "folder.inspect";
        cx.check(OPERATION)?;
        let kept = self.clone();
        leftovers::look(OPERATION, move |purpose| kept.unfinished(OPERATION, purpose)).await
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        const OPERATION: &str = "folder.clean";
        cx.check(OPERATION)?;
        let kept = self.clone();
        leftovers::clean(OPERATION, leftover, move |purpose| kept.unfinished(OPERATION, purpose)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        leftovers::tests::{Worker, clean_all, cx, dir_of_worker, holds, kinds},
        step::Step as _,
        steps::KeepFolder,
    };

    /// Does nothing unless it was started by the test below.
    #[tokio::test]
    async fn worker() {
        let Some(dir) = dir_of_worker() else { return };
        let step = KeepFolder::new(KeptFolders::new(dir.join("kept")), "files");
        step.apply(&cx(), dir.join("files")).await.unwrap();
    }

    #[tokio::test]
    async fn a_killed_copy_is_left_over_and_a_running_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("files")).unwrap();
        for number in 0..5_000 {
            std::fs::write(dir.path().join("files").join(number.to_string()), "x").unwrap();
        }
        let kept = KeptFolders::new(dir.path().join("kept"));
        assert_eq!(kinds(&kept, &cx()).await, [""; 0]);
        assert!(!dir.path().join("kept").exists(), "looking makes nothing");
        let mut worker = Worker::start("steps::keep::leftovers::tests::worker", dir.path());
        worker.until(|| holds(&dir.path().join("kept"), is_scratch));
        assert_eq!(kinds(&kept, &cx()).await, [""; 0], "it is being copied");
        worker.kill();
        assert_eq!(kinds(&kept, &cx()).await, ["unfinished copy"]);
        let step = KeepFolder::new(kept.clone(), "files");
        let digest = step.apply(&cx(), dir.path().join("files")).await.unwrap().output;
        clean_all(&kept, &cx()).await;
        assert!(kept.holds(&digest).await.unwrap());
    }
}
