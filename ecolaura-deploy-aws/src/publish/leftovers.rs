//! What publishes that did not end left behind.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    backend::{Inspect, Leftover, SiteManifest},
    vocabulary::{Digest, Name},
};
use jiff::Timestamp;

use super::{bucket::Within, headers::SITE, listing::Listed, publisher::S3Cdn, upload};

/// How old a thing must be that may be in use by a publish that has not switched yet.
pub(super) const GRACE: Duration = Duration::from_hours(1);

/// A thing that is left over, and how to take it away.
struct Remnant {
    leftover: Leftover,
    key: String,
    /// Of an upload that did not end.
    upload: Option<String>,
}

/// What the kept releases name.
struct Kept {
    folders: BTreeSet<String>,
    keys: BTreeSet<String>,
    contents: BTreeSet<String>,
}

impl Kept {
    fn new(releases: Vec<(Digest, SiteManifest)>) -> Self {
        let folders = releases.iter().map(|(id, _)| id.to_hex()).collect();
        let (mut keys, mut contents) = (BTreeSet::new(), BTreeSet::new());
        for (_, manifest) in releases {
            contents.extend(manifest.0.values().map(|object| object.digest.to_hex()));
            keys.extend(manifest.0.into_keys());
        }
        Self { folders, keys, contents }
    }

    /// Whether `key` is served by one of them, where each may have a folder of its own.
    fn serves(&self, key: &str, in_folders: bool) -> bool {
        match in_folders {
            true => key.split_once('/').is_some_and(|(folder, _)| self.folders.contains(folder)),
            false => self.keys.contains(key),
        }
    }
}

impl S3Cdn {
    /// How long a thing that no release names is kept for the publish that sent it (default 1 hour), before it counts as
    /// left over, or is pruned with the release that it was sent for.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    pub(super) fn is_old(&self, cx: &Context, seconds: i64) -> bool {
        let grace = i64::try_from(self.grace.as_secs()).unwrap_or(i64::MAX);
        cx.clock().now().as_second().saturating_sub(seconds) >= grace
    }

    fn remnant(&self, key: String, listed: &Listed, (kind, found): (&str, &str)) -> Remnant {
        let leftover = Leftover::new(kind, self.bucket.url(&key), found, "delete the object").bytes(listed.size);
        let leftover = match Timestamp::from_second(listed.modified) {
            Ok(since) => leftover.since(since),
            Err(_) => leftover,
        };
        Remnant { leftover, key, upload: None }
    }

    async fn remove(&self, within: Within<'_>, key: String) -> Result<()> {
        let prefix = if key.starts_with(&self.state) { &self.state } else { &self.prefix };
        self.bucket.delete(within, prefix, &[key]).await
    }

    async fn remnants(&self, within: Within<'_>) -> Result<Vec<Remnant>> {
        let mut found = self.half_uploads(within).await?;
        let pointer = self.pointer(within).await?.pointer;
        if pointer.live.is_none() {
            // What a first publish sent cannot be told from what is left of a site that lost its state.
            return Ok(found);
        }
        let kept = Kept::new(self.manifests(within, &pointer.releases).await?);
        let old = |listed: &Listed| self.is_old(within.0, listed.modified);
        for (id, listed) in self.forgotten(within, &pointer).await?.into_iter().filter(|(_, listed)| old(listed)) {
            let why = "it was written down and never switched to, or forgotten and not quite removed";
            found.push(self.remnant(self.manifest_key(id), &listed, ("half release", why)));
        }
        let survey = self.survey(within, &[], None).await?;
        for (hex, listed) in survey.contents.iter().filter(|(hex, listed)| !kept.contents.contains(*hex) && old(listed))
        {
            let key = format!("{}{hex}", self.contents_prefix());
            found.push(self.remnant(key, listed, ("unnamed content", "no kept release names it")));
        }
        let unnamed = survey.served.iter().filter(|(key, listed)| !kept.serves(key, self.folders) && old(listed));
        for (key, listed) in unnamed.map(|(key, listed)| (self.served_key(key), listed)) {
            if self.is_own(within, &key).await? {
                found.push(self.remnant(key, listed, ("unnamed asset", "no kept release names it")));
            }
        }
        Ok(found)
    }

    /// Whether `key` was served by this site. What others put into the bucket is theirs, and what has no mark is part of a
    /// state, which lies among what is served where a site has no prefix.
    async fn is_own(&self, within: Within<'_>, key: &str) -> Result<bool> {
        if !self.state.is_empty() && key.starts_with(&self.state) {
            return Ok(false);
        }
        let Some(seen) = self.bucket.head(within, key).await? else { return Ok(false) };
        Ok(seen.mark.is_some() && seen.metadata.get(SITE).is_some_and(|site| *site == self.name.as_str()))
    }

    /// Whether an upload to `key` is known to be this site's: an upload tells nothing of who began it, and at the root of
    /// a bucket anybody may.
    fn is_sent_by_us(&self, key: &str) -> bool {
        let below_prefix = !self.prefix.is_empty() && key.starts_with(&self.prefix);
        below_prefix || key.starts_with(&self.contents_prefix())
    }

    /// Uploads in parts that nobody ended. Each costs as much as its parts.
    async fn half_uploads(&self, within: Within<'_>) -> Result<Vec<Remnant>> {
        let mut found = Vec::new();
        let mut next = (None, None);
        loop {
            let call = self.bucket.reads(within, "s3:ListBucketMultipartUploads", "");
            let request = self.bucket.client.list_multipart_uploads().bucket(&self.bucket.name);
            let page = call.send(request.set_key_marker(next.0).set_upload_id_marker(next.1).send()).await?;
            for open in page.uploads.unwrap_or_default() {
                let (Some(key), Some(id)) = (open.key, open.upload_id) else { continue };
                let since = open.initiated.map_or(i64::MAX, |time| time.secs());
                if self.is_sent_by_us(&key) && self.is_old(within.0, since) {
                    let url = format!("{}?uploadId={id}", self.bucket.url(&key));
                    let why = "it was being sent when the process ended; its parts cost and are not listed";
                    let leftover = Leftover::new("half upload", url, why, "abort the upload");
                    let leftover =
                        Timestamp::from_second(since).map_or(leftover.clone(), |since| leftover.since(since));
                    found.push(Remnant { leftover, key, upload: Some(id) });
                }
            }
            next = (page.next_key_marker, page.next_upload_id_marker);
            if page.is_truncated != Some(true) || next.0.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Before the first release nothing but half uploads is left over. At the root of a bucket only half uploads to the state
/// are: of any other nobody can tell whose it is, so let a rule of the bucket end those.
#[async_trait]
impl Inspect for S3Cdn {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        const OPERATION: &str = "cdn.inspect";
        cx.check(OPERATION)?;
        Ok(self.remnants((cx, OPERATION)).await?.into_iter().map(|remnant| remnant.leftover).collect())
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        const OPERATION: &str = "cdn.clean";
        cx.check(OPERATION)?;
        let same =
            |remnant: &Remnant| remnant.leftover.kind == leftover.kind && remnant.leftover.object == leftover.object;
        let Some(remnant) = self.remnants((cx, OPERATION)).await?.into_iter().find(same) else { return Ok(()) };
        let Some(id) = remnant.upload else { return self.remove((cx, OPERATION), remnant.key).await };
        if upload::forget(self.bucket.clone(), remnant.key, id).await {
            return Ok(());
        }
        let message = format!("`{}` could not be aborted", leftover.object);
        Err(Error::new(ErrorKind::Unavailable, OPERATION, message)
            .advice("allow s3:AbortMultipartUpload on the bucket's objects, then run again"))
    }
}
