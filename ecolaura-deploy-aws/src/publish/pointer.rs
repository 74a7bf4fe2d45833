//! A site that is switched by one write: each release has a folder of its own, and an entry of a `CloudFront`
//! `KeyValueStore` says which one is served.
//!
//! ```text
//! PREFIX HEX/KEY                   a release as it is served, and what pages of other kept releases name beside it
//! STATE live.json, releases/       as in the layout of `S3Cdn`; what is served is told by the entry alone
//! STATE objects/HEX                all contents, by SHA-256
//! ```
//!
//! A function of `CloudFront` puts the folder before the path. The folders are whole before the entry is written, so that
//! nobody is ever served a mixture, and a release that was served never changes: caches have nothing to forget.
//!
//! Edges hear of the entry within seconds, not at one moment, and browsers hold pages for longer. So the folder that is
//! switched to also has the assets of all kept releases, and the one that is left gets those of its successor first.

mod decide;
mod function;
mod publisher;
mod release;
mod store;

use ecolaura_deploy_core::{Context, Result, cdn::Prices, vocabulary::Name};

use self::store::Entry;
use super::{Findings, S3Cdn};
use crate::{Account, access::Grant};

/// A site in a bucket, whose releases are switched by one write to a `CloudFront` `KeyValueStore`.
///
/// The distribution has the bucket as its origin, with the prefix as its path, and a function for viewer requests made of
/// [`PointerCdn::viewer_request`], which is associated with the store. An error page of the distribution is asked for
/// without that function; let it be an object outside of the releases.
///
/// Each release costs a copy within S3 for each of its keys; contents are still sent once.
///
/// ```no_run
/// # async fn example(cx: &ecolaura_deploy_core::Context) -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_aws::{Connect, PointerCdn};
///
/// let account = Connect::new().region("eu-central-1").connect(cx).await?;
/// let store = "arn:aws:cloudfront::111122223333:key-value-store/a1b2c3d4-5678-90ab-cdef-EXAMPLE11111";
/// let cdn = PointerCdn::new("web".parse()?, account, "ecolaura-web", store).prefix("site");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct PointerCdn {
    site: S3Cdn,
    entry: Entry,
}

impl PointerCdn {
    /// The site `name` in `bucket`. The store with the ARN `store` has the site's entry under its name; the first publish
    /// makes it.
    pub fn new(name: Name, account: Account, bucket: impl Into<String>, store: impl Into<String>) -> Self {
        let entry = Entry::new(account.clone(), store.into(), name.to_string());
        Self { site: S3Cdn::new(name, account, bucket).in_folders(), entry }
    }

    /// With the releases below `prefix`, which is the path of the origin.
    pub fn prefix(self, prefix: impl AsRef<str>) -> Self {
        Self { site: self.site.prefix(prefix), ..self }
    }

    /// With the state below another `prefix`. No two sites share one, nor a name where one lies below the other.
    pub fn state(self, prefix: impl AsRef<str>) -> Self {
        Self { site: self.site.state(prefix), ..self }
    }

    /// Sends files larger than `bytes` in parts of that size, at least 5 MiB (default 8 MiB).
    pub fn part_size(self, bytes: u64) -> Self {
        Self { site: self.site.part_size(bytes), ..self }
    }

    /// How long a thing that no release names is kept (default 1 hour), before it counts as left over, or is pruned.
    pub fn grace(self, grace: std::time::Duration) -> Self {
        Self { site: self.site.grace(grace), ..self }
    }

    /// With the prices that plans estimate by.
    pub fn prices(self, prices: Prices) -> Self {
        Self { site: self.site.prices(prices), ..self }
    }

    /// Looks at the bucket and at the store. Reads only. What may not be read is a finding too.
    pub async fn check(&self, cx: &Context) -> Result<Findings> {
        let mut findings = self.site.check(cx).await?;
        findings.0.extend(self.entry.judged((cx, "cdn.check")).await?);
        findings.0.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
        Ok(findings)
    }

    /// What publishing, taking back and pruning need.
    pub fn publishing(&self) -> Vec<Grant> {
        self.site.copying().into_iter().chain([self.entry.grant()]).collect()
    }

    /// What [`PointerCdn::check`] needs beside that.
    pub fn checking(&self) -> Vec<Grant> {
        self.site.checking()
    }

    /// What looking after leftovers needs beside [`PointerCdn::publishing`].
    pub fn cleaning(&self) -> Vec<Grant> {
        self.site.cleaning()
    }
}
