//! What the server answers a path with: the live release, and the assets of those that are kept.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::store::Store;
use crate::{Result, backend::SiteObject};

const OPERATION: &str = "cdn.serve";

/// The objects that are served, by key.
#[derive(Debug, Default)]
pub(super) struct Index {
    pointer: Option<Vec<u8>>,
    objects: BTreeMap<String, SiteObject>,
}

impl Index {
    fn read(store: &Store, pointer: Option<Vec<u8>>) -> Result<Self> {
        let Some(bytes) = pointer else { return Ok(Self::default()) };
        let releases = store.parse_pointer(OPERATION, &bytes)?;
        let mut objects = BTreeMap::new();
        // Oldest first, so that newer ones replace; the live one comes last whatever its age.
        for id in releases.releases.iter().copied().filter(|id| Some(*id) != releases.live) {
            let assets = store.read_manifest(OPERATION, id)?.0.into_iter();
            objects.extend(assets.filter(|(_, object)| outlives_release(object)));
        }
        if let Some(live) = releases.live {
            objects.extend(store.read_manifest(OPERATION, live)?.0);
        }
        Ok(Self { pointer: Some(bytes), objects })
    }

    pub(super) fn get(&self, key: &str) -> Option<&SiteObject> {
        self.objects.get(key)
    }
}

/// Assets stay for the pages that browsers hold; a page that was taken away is gone.
fn outlives_release(object: &SiteObject) -> bool {
    !object.content_type.starts_with("text/html")
}

/// The index as the pointer wants it. The pointer's few bytes are read for each request and compared, which no clock
/// granularity or reused inode can deceive; manifests are read when it changed.
#[derive(Debug)]
pub(super) struct Site {
    store: Store,
    index: Mutex<Arc<Index>>,
}

impl Site {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { store: Store::new(dir), index: Mutex::default() }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// The present index. Blocks. If it cannot be read, what was served is served on.
    pub(super) fn index(&self) -> Result<Arc<Index>> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        match self.reread(&index) {
            Ok(Some(newer)) => *index = Arc::new(newer),
            Ok(None) => {}
            Err(error) if index.pointer.is_none() => return Err(error),
            Err(error) => tracing::error!(error = %error.report(), "the site's new release cannot be read"),
        }
        Ok(Arc::clone(&index))
    }

    fn reread(&self, present: &Index) -> Result<Option<Index>> {
        loop {
            let pointer = self.store.pointer_bytes(OPERATION)?;
            if pointer == present.pointer {
                return Ok(None);
            }
            match Index::read(&self.store, pointer.clone()) {
                // A release was pruned between the two reads.
                Err(_) if self.store.pointer_bytes(OPERATION)? != pointer => {}
                result => return result.map(Some),
            }
        }
    }
}
