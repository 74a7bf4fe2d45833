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
