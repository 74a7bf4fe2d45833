//! The releases that an environment had: one record for each, linked to the one that is live if one goes back from it.

use serde::{Deserialize, Serialize};

use super::{Created, RunStore, seal, state};
use crate::{
    Error, ErrorKind, Result,
    vocabulary::{EnvironmentName, Release},
};

/// The version of the form of release records.
const SCHEMA: u32 = 1;

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredRelease {
    schema: u32,
    pub(crate) number: u64,
    /// The key of the effect that wrote it, which tells several attempts at one recording from those of others.
    pub(crate) by: String,
    /// The epoch that wrote it.
    pub(crate) epoch: u64,
    pub(crate) release: Release,
    /// The number of the record that is live if one goes back from here.
    pub(crate) back: Option<u64>,
}

/// What is to be recorded.
#[derive(Debug)]
pub(crate) struct NewRelease<'a> {
    pub(crate) release: &'a Release,
    pub(crate) by: String,
    pub(crate) epoch: u64,
}

/// The releases that an environment had.
#[derive(Debug, Clone)]
pub struct StoredReleases<'a> {
    store: &'a dyn RunStore,
    environment: &'a EnvironmentName,
}

impl<'a> StoredReleases<'a> {
    /// Those of `environment`.
    pub fn new(store: &'a dyn RunStore, environment: &'a EnvironmentName) -> Self {
        Self { store, environment }
    }

    fn prefix(&self) -> String {
        format!("environments/{}/releases", self.environment)
    }

    pub(crate) fn key(&self, number: u64) -> String {
        format!("{}/{number:08}", self.prefix())
    }

    /// Every record, oldest first: what was live after each successful run. Reads only. Fails with
    /// [`ErrorKind::Corrupt`] naming the record that is damaged.
    pub async fn all(&self) -> Result<Vec<(String, Release)>> {
        let records = self.records().await?;
        Ok(records.into_iter().map(|record| (self.key(record.number), record.release)).collect())
    }

    async fn records(&self) -> Result<Vec<StoredRelease>> {
        let mut records = Vec::new();
        for key in self.store.list(&self.prefix()).await? {
            records.extend(self.read(&key).await?);
        }
        Ok(records)
    }

    /// What is live: the newest record. Reads only.
    pub async fn last(&self) -> Result<Option<Release>> {
        Ok(self.newest().await?.map(|record| record.release))
    }

    /// What was live before the live one came. A release that was rolled back from does not count: a roll-back records
    /// the release that it went back to, so the next one goes back further. Reads only.
    pub async fn previous(&self) -> Result<Option<Release>> {
        let Some(newest) = self.newest().await? else { return Ok(None) };
        Ok(self.before(&newest).await?.map(|record| record.release))
    }

    /// The newest record. It is looked for above the one that the environment's newest snapshot names, so that a long
    /// history costs nothing.
    pub(crate) async fn newest(&self) -> Result<Option<StoredRelease>> {
        match self.newest_number().await? {
            Some(number) => self.get(number).await,
            None => Ok(None),
        }
    }

    /// The number of the newest record.
    pub(crate) async fn newest_number(&self) -> Result<Option<u64>> {
        let known = state::newest_release(self.store, self.environment).await?;
        self.newest_after(known).await
    }

    /// The number of the newest record, if `known` was one once.
    pub(crate) async fn newest_after(&self, known: Option<u64>) -> Result<Option<u64>> {
        if let Some(known) = known {
            let newer = self.store.list_after(&self.prefix(), &self.key(known)).await?;
            if let Some(number) = newer.last().and_then(|key| number(key)) {
                return Ok(Some(number));
            }
            if self.store.get(&self.key(known)).await?.is_some() {
                return Ok(Some(known));
            }
        }
        Ok(self.store.list(&self.prefix()).await?.last().and_then(|key| number(key)))
    }

    pub(crate) async fn get(&self, number: u64) -> Result<Option<StoredRelease>> {
        self.read(&self.key(number)).await
    }

    async fn read(&self, key: &str) -> Result<Option<StoredRelease>> {
        let Some(line) = self.store.get(key).await? else { return Ok(None) };
        seal::open(key, &line, SCHEMA).map(|(record, _)| Some(record))
    }

    /// The record that is live if one goes back from `record`.
    async fn before(&self, record: &StoredRelease) -> Result<Option<StoredRelease>> {
        let Some(back) = record.back else { return Ok(None) };
        match self.get(back).await? {
            Some(before) => Ok(Some(before)),
            // It was taken back by a run that came to an end later than the next one began.
            None => Ok(line(self.records().await?, record.number).pop()),
        }
    }

    /// Whether a release with these contents was live here once. Looks at those that one can go back to first.
    pub(crate) async fn was_live(&self, release: &Release) -> Result<bool> {
        let mut next = self.newest().await?;
        while let Some(record) = next {
            if record.release.same_content(release) {
                return Ok(true);
            }
            next = self.before(&record).await?;
        }
        Ok(self.records().await?.iter().any(|record| record.release.same_content(release)))
    }

    /// Records `new` after `newest`. Fails with [`ErrorKind::Conflict`] if another did meanwhile.
    pub(crate) async fn append(&self, newest: Option<StoredRelease>, new: NewRelease<'_>) -> Result<u64> {
        let number = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let mut back = newest;
        while let Some(record) = back.take_if(|record| record.release.sequence >= new.release.sequence) {
            back = self.before(&record).await?;
        }
        let NewRelease { release, by, epoch } = new;
        let back = back.map(|record| record.number);
        let record = StoredRelease { schema: SCHEMA, number, by, epoch, release: release.clone(), back };
        let (line, _) = seal::seal(&record)?;
        match super::settle(self.store, &self.key(number), line).await? {
            Created::Yes => Ok(number),
            Created::Exists => {
                let message = format!("another run recorded `{}` meanwhile", self.key(number));
                Err(Error::new(ErrorKind::Conflict, "release.record", message).advice("plan again"))
            }
        }
    }
}

fn number(key: &str) -> Option<u64> {
    key.rsplit('/').next()?.parse().ok()
}

/// The records before `end` that one can go back to, oldest first.
fn line(records: Vec<StoredRelease>, end: u64) -> Vec<StoredRelease> {
    let mut line: Vec<StoredRelease> = Vec::new();
    for record in records.into_iter().take_while(|record| record.number <= end) {
        line.retain(|earlier| earlier.release.sequence < record.release.sequence);
        line.push(record);
    }
    line.pop();
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::ObjectRunStore, vocabulary::ReleaseSequence};

    async fn record(releases: &StoredReleases<'_>, sequence: u64) -> u64 {
        let release = Release::new(ReleaseSequence(sequence), format!("commit {sequence}"));
        let new = NewRelease { release: &release, by: String::new(), epoch: 0 };
        releases.append(releases.newest().await.unwrap(), new).await.unwrap()
    }

    #[tokio::test]
    async fn the_previous_release_is_not_one_that_was_rolled_back_from() {
        let (store, dev) = (ObjectRunStore::memory(), "dev".parse().unwrap());
        let releases = StoredReleases::new(&store, &dev);
        let expected = [None, Some(1), Some(2), Some(1), Some(2), None, Some(1)];
        for (sequence, previous) in [1, 2, 3, 2, 4, 1, 5].into_iter().zip(expected) {
            let number = record(&releases, sequence).await;
            let found = releases.previous().await.unwrap().map(|release| release.sequence.0);
            assert_eq!(found, previous, "after record {number}");
        }
    }
}
