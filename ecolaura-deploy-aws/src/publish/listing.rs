//! What a bucket holds: page by page, or several parts at once where it is known what is about there.

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::Result;
use futures_util::{FutureExt as _, future::BoxFuture, future::try_join_all};

use super::bucket::{Bucket, Within, size};

/// How many keys a page of a listing has.
pub(super) const PAGE: usize = 1000;
/// Into how many parts a listing is split at most.
const PARTS: usize = 8;

/// What a listing tells of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) modified: i64,
}

/// Objects by the rest of their keys, after the prefix that all have.
pub(super) type Objects = BTreeMap<String, Listed>;

/// Where a page of a listing begins.
#[derive(Debug, Clone)]
enum From {
    Start,
    After(String),
    Token(String),
}

/// Where a listing is split that is expected to hold `keys`: into parts of whole pages.
fn cuts<'a>(keys: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let part = keys.len().div_ceil(PAGE).div_ceil(PARTS).max(1) * PAGE;
    // Nothing is expected after the last one.
    let before_last = keys.len().saturating_sub(1);
    keys.iter().take(before_last).skip(part - 1).step_by(part).copied().collect()
}

impl Bucket {
    /// All objects whose keys begin with `prefix`, by the rest of the key.
    pub(super) async fn list(&self, within: Within<'_>, prefix: &str) -> Result<Objects> {
        let (mut found, mut from) = (Objects::new(), From::Start);
        loop {
            let (page, next) = self.page(within, prefix, from).await?;
            found.extend(page);
            match next {
                Some(token) => from = From::Token(token),
                None => return Ok(found),
            }
        }
    }

    /// The same, in parts that are asked at once, as far as `expected` are there. Where one of them is not, or the store
    /// has an order of its own, all is listed again.
    pub(super) async fn list_expecting(
        &self,
        within: Within<'_>,
        prefix: &str,
        expected: &BTreeSet<&str>,
    ) -> Result<Objects> {
        let cuts = cuts(expected);
        if cuts.is_empty() {
            return self.list(within, prefix).await;
        }
        let mut parts: Vec<BoxFuture<'_, Result<Option<Objects>>>> = Vec::with_capacity(cuts.len() + 1);
        let mut after = None;
        for until in cuts.into_iter().map(Some).chain([None]) {
            parts.push(self.part(within, prefix, (after, until)).boxed());
            after = until;
        }
        let parts: Option<Vec<Objects>> = try_join_all(parts).await?.into_iter().collect();
        let found: Objects = parts.into_iter().flatten().flatten().collect();
        match expected.iter().all(|key| found.contains_key(*key)) {
            true => Ok(found),
            false => self.list(within, prefix).await,
        }
    }

    /// What comes after `after`, as far as `until` and perhaps further; `None` if it does not come in the order of keys.
    async fn part(
        &self,
        within: Within<'_>,
        prefix: &str,
        (after, until): (Option<&str>, Option<&str>),
    ) -> Result<Option<Objects>> {
        let mut found = Objects::new();
        let mut from = after.map_or(From::Start, |after| From::After(format!("{prefix}{after}")));
        loop {
            let (page, next) = self.page(within, prefix, from).await?;
            for (key, listed) in page {
                let last = found.last_key_value().map(|(last, _)| last.as_str()).or(after);
                if last.is_some_and(|last| key.as_str() <= last) {
                    return Ok(None);
                }
                found.insert(key, listed);
            }
            let arrived =
                until.is_some_and(|until| found.last_key_value().is_some_and(|(last, _)| last.as_str() >= until));
            match next {
                Some(token) if !arrived => from = From::Token(token),
                _ => return Ok(Some(found)),
            }
        }
    }

    /// One page, and the token of the next one.
    async fn page(
        &self,
        within: Within<'_>,
        prefix: &str,
        from: From,
    ) -> Result<(Vec<(String, Listed)>, Option<String>)> {
        let call = self.reads(within, "s3:ListBucket", "");
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let request = match from {
            From::Start => request,
            From::After(key) => request.start_after(key),
            From::Token(token) => request.continuation_token(token),
        };
        let page = call.send(request.send()).await?;
        let objects = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let rest = object.key.as_deref()?.strip_prefix(prefix)?.to_owned();
            let modified = object.last_modified.map_or(i64::MAX, |time| time.secs());
            Some((rest, Listed { size: size(object.size), modified }))
        });
        Ok((objects.collect(), page.next_continuation_token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_whole_pages_and_are_few() {
        let cuts_of = |count: usize| {
            let keys: Vec<String> = (0..count).map(|number| format!("{number:06}")).collect();
            let cuts = cuts(&keys.iter().map(String::as_str).collect());
            cuts.into_iter().map(|cut| cut.parse::<usize>().unwrap()).collect::<Vec<_>>()
        };
        for small in [0, 1, PAGE] {
            assert!(cuts_of(small).is_empty(), "{small} keys are one page");
        }
        assert_eq!((cuts_of(PAGE + 1), cuts_of(3 * PAGE)), (vec![PAGE - 1], vec![PAGE - 1, 2 * PAGE - 1]));
        let many = cuts_of(100 * PAGE);
        assert_eq!((many.len(), many[0]), (PARTS - 1, 13 * PAGE - 1));
    }
}
