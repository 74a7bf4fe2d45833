//! Serving a release: which keys are copied in which order, which go away, and doing so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

use ecolaura_deploy_core::{
    Effect, Error, ErrorKind, Result,
    backend::{Activation, SiteManifest, SiteObject},
    cdn::variant_of,
    vocabulary::Digest,
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use super::{
    bucket::Within,
    headers::{Headers, mark, renamed},
    publisher::S3Cdn,
    state::{Found, of, pages},
    stored::Survey,
};

/// How often others may change the state while this call decides.
pub(super) const ROUNDS: usize = 16;

/// Pages go away with their release; everything else stays for the pages that browsers hold.
pub(super) fn is_page(object: &SiteObject) -> bool {
    object.content_type.starts_with("text/html")
}

/// What is known before a switch.
#[derive(Debug)]
pub(super) struct Before<'a> {
    /// The release that is served; `None` if there is none or an earlier switch did not end.
    pub(super) served: Option<&'a SiteManifest>,
    /// All keys of the releases that are kept, with whether they are pages.
    pub(super) pages: BTreeMap<&'a str, bool>,
    pub(super) survey: &'a Survey,
    /// Immutable keys that are there with other headers than wanted.
    pub(super) relabelled: BTreeSet<&'a str>,
}

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work<'a> {
    /// Keys to copy, in groups: what pages name, pages, entry pages of folders, the entry page.
    pub(super) copies: Vec<Vec<(&'a str, &'a SiteObject)>>,
    /// Pages that the release does not have.
    pub(super) gone: Vec<&'a str>,
}

impl Work<'_> {
    fn is_empty(&self) -> bool {
        self.copies.is_empty() && self.gone.is_empty()
    }
}

/// What makes `wanted` be served.
pub(super) fn decide<'a>(wanted: &'a SiteManifest, before: &Before<'a>) -> Work<'a> {
    let mut groups: BTreeMap<u8, Vec<(&str, &SiteObject)>> = BTreeMap::new();
    for (key, object) in &wanted.0 {
        let served = before.served.and_then(|served| served.0.get(key));
        let found = before.survey.served.get(key);
        let copied = match object.is_immutable() {
            true => before.relabelled.contains(key.as_str()),
            false => served != Some(object) || found.is_none_or(|found| found.size != object.size),
        };
        if copied {
            groups.entry(rank(key, object)).or_default().push((key, object));
        }
    }
    let lacked = |(key, page): (&&'a str, &bool)| {
        *page && !wanted.0.contains_key(*key) && before.survey.served.contains_key(*key)
    };
    let gone = before.pages.iter().filter(|entry| lacked(*entry)).map(|(key, _)| *key).collect();
    Work { copies: groups.into_values().collect(), gone }
}

/// A page's variant is shown with the page.
pub(super) fn rank(key: &str, object: &SiteObject) -> u8 {
    let key = variant_of(key).map_or(key, |(original, _)| original);
    match (is_page(object), key) {
        (false, _) => 0,
        (true, "index.html") => 3,
        (true, key) if key.ends_with("/index.html") => 2,
        (true, _) => 1,
    }
}

impl S3Cdn {
    pub(super) async fn switch(&self, within: Within<'_>, activation: &Activation) -> Result<()> {
        for _ in 0..ROUNDS {
            if self.try_switch(within, activation).await? {
                return Ok(());
            }
        }
        Err(self.restless(within))
    }

    /// The error where others do not let this call have its turn.
    pub(super) fn restless(&self, (_, operation): Within<'_>) -> Error {
        let message = format!("`{}` changes faster than it can be read", self.bucket.url(&self.state));
        Error::new(ErrorKind::Conflict, operation, message).advice("see who publishes to this site, then run again")
    }

    /// `false` if somebody else changed the state before this call noted what it does.
    async fn try_switch(&self, within: Within<'_>, Activation { manifest, expected, .. }: &Activation) -> Result<bool> {
        let wanted = manifest.id();
        let (found, pointer) = self.admitted(within).await?;
        let live = pointer.live;
        if live != Some(wanted) && live != *expected {
            return Err(self.conflict(within.1, *expected, live));
        }
        let kept = self.manifests(within, &pointer.releases).await?;
        let survey = self.survey(within, &kept, live).await?;
        let missing = self.unstored(within, manifest, &survey, of(&kept, live)).await?;
        if let Some(first) = missing.first() {
            let message = format!("the content of {} keys is not stored, the first is `{first}`", missing.len());
            return Err(Error::new(ErrorKind::NotFound, within.1, message).advice("upload them first"));
        }
        let served = of(&kept, live).filter(|_| !pointer.unfinished);
        let relabelled = self.relabelled(within, manifest, served).await?;
        self.fits(within.1, manifest, |key, _| relabelled.contains(key))?;
        let pages = pages(kept.iter().map(|(_, manifest)| manifest));
        let work = decide(manifest, &Before { served, pages, survey: &survey, relabelled });
        if live == Some(wanted) && !pointer.unfinished && work.is_empty() {
            return match pointer == found.pointer {
                true => Ok(true),
                false => Ok(self.replace(within, &found, pointer).await?.is_some()),
            };
        }
        self.write_manifest(within, manifest).await?;
        let owed = !self.stale(of(&kept, live), manifest).is_empty();
        let switching = pointer.switching(wanted, owed);
        let Some(begun) = self.replace(within, &found, switching).await? else { return Ok(false) };
        self.carry_out(within, &begun, &work).await.map_err(|error| halfway(error, wanted))?;
        Ok(true)
    }

    /// The immutable keys of `manifest` that are there with other headers.
    async fn relabelled<'a>(
        &self,
        within: Within<'_>,
        manifest: &'a SiteManifest,
        served: Option<&SiteManifest>,
    ) -> Result<BTreeSet<&'a str>> {
        let immutable = manifest.0.iter().filter(|(_, object)| object.is_immutable());
        let unsure = immutable.filter(|(key, object)| {
            served.and_then(|served| served.0.get(*key)) != Some(*object) && !self.known.is(key, object)
        });
        let unsure: Vec<&str> = unsure.map(|(key, _)| key.as_str()).collect();
        let seen = self.ask(within, unsure).await?;
        let differs = |(key, seen): (&'a str, Option<super::bucket::Seen>)| {
            let wanted = manifest.0.get(key).map(|object| mark(object).to_hex());
            (seen.and_then(|seen| seen.mark) != wanted).then_some(key)
        };
        Ok(seen.into_iter().filter_map(differs).collect())
    }

    async fn carry_out(&self, within: Within<'_>, begun: &Found, work: &Work<'_>) -> Result<()> {
        self.say_renamed(within, work);
        for (number, group) in work.copies.iter().enumerate() {
            if number > 0 {
                self.still(within, begun).await?;
            }
            let mut copies: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(group.len());
            for (key, object) in group {
                copies.push(self.serve(within, key, object).boxed());
            }
            let mut copies = stream::iter(copies).buffer_unordered(within.0.limits().parallel_transfers.get());
            while copies.try_next().await?.is_some() {}
        }
        if !work.gone.is_empty() {
            self.still(within, begun).await?;
            let keys: Vec<String> = work.gone.iter().map(|key| self.served_key(key)).collect();
            self.bucket.delete(within, &self.prefix, &keys).await?;
        }
        match self.replace(within, begun, begun.pointer.switched()).await? {
            Some(ended) => {
                *self.switched.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
                Ok(())
            }
            None => {
                self.still(within, begun).await?;
                Err(self.restless(within))
            }
        }
    }

    async fn serve(&self, within: Within<'_>, key: &str, object: &SiteObject) -> Result<()> {
        within.0.check(within.1)?;
        let target = self.served_key(key);
        let source = if object.is_immutable() { target.clone() } else { self.content_key(object.digest) };
        let headers = Headers::served(within.1, &self.name, object)?;
        self.bucket.copy(within, (&source, object.size), &target, &headers).await?;
        self.known.note(key, object.digest, Some(mark(object).to_hex()));
        Ok(())
    }

    fn say_renamed(&self, (cx, _): Within<'_>, work: &Work<'_>) {
        let names: BTreeSet<&str> = work.copies.iter().flatten().flat_map(|(_, object)| renamed(object)).collect();
        if !names.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            cx.warn(format!(
                "S3 sends these headers of `{}` as x-amz-meta-… only: {}; let a response headers policy send them",
                self.name,
                names.join(", ")
            ));
        }
    }
}

/// What is served may be a mixture from here on.
fn halfway(error: Error, wanted: Digest) -> Error {
    error
        .with_effect(Effect::Partial)
        .with("release", wanted)
        .with("served", "pages of this release and of the former; the same call completes it, another switch undoes it")
}

#[cfg(test)]
mod tests {
    use ecolaura_deploy_core::cdn::{content_type, default_cache_control};

    use super::*;
    use crate::publish::listing::Listed;

    fn site(files: &[(&str, &str)]) -> SiteManifest {
        let object = |key: &str, text: &str| {
            SiteObject::new(Digest::of(text), text.len() as u64, content_type(key), default_cache_control(key))
        };
        SiteManifest(files.iter().map(|(key, text)| ((*key).to_owned(), object(key, text))).collect())
    }

    fn served(manifests: &[&SiteManifest]) -> Survey {
        let objects = manifests.iter().flat_map(|manifest| &manifest.0);
        let served = objects.map(|(key, object)| (key.clone(), Listed { size: object.size, modified: 0 }));
        Survey { served: served.collect(), contents: BTreeMap::new() }
    }

    fn keys<'a>(work: &Work<'a>) -> Vec<Vec<&'a str>> {
        work.copies.iter().map(|group| group.iter().map(|(key, _)| *key).collect()).collect()
    }

    #[test]
    fn what_differs_is_copied_pages_later_and_the_entry_page_last() {
        let old = site(&[("index.html", "1"), ("same.html", "1"), ("a.css", "1"), ("old.html", "1"), ("old.css", "1")]);
        let new = site(&[
            ("index.html", "2"),
            ("d/index.html", "2"),
            ("same.html", "1"),
            ("new.html", "2"),
            ("a.css", "2"),
            ("app.4f2a91c0.js", "2"),
        ]);
        let survey = served(&[&old]);
        let pages = pages([&old].into_iter());
        let before = Before { served: Some(&old), pages, survey: &survey, relabelled: BTreeSet::new() };
        let work = decide(&new, &before);
        assert_eq!(keys(&work), [vec!["a.css"], vec!["new.html"], vec!["d/index.html"], vec!["index.html"]]);
        assert_eq!(work.gone, ["old.html"], "styles stay for the pages that browsers hold");
    }

    #[test]
    fn variants_of_a_page_are_shown_with_it() {
        let mut new = site(&[("index.html", "2"), ("new.html", "2")]);
        let page = new.0["index.html"].clone();
        new.0.insert("index.html.br".to_owned(), page);
        let survey = Survey::default();
        let before = Before { served: None, pages: BTreeMap::new(), survey: &survey, relabelled: BTreeSet::new() };
        assert_eq!(keys(&decide(&new, &before)), [vec!["new.html"], vec!["index.html", "index.html.br"]]);
    }

    #[test]
    fn after_a_switch_that_did_not_end_all_mutable_keys_are_copied() {
        let new = site(&[("index.html", "2"), ("same.html", "1"), ("app.4f2a91c0.js", "2")]);
        let survey = served(&[&new]);
        let before = Before { served: None, pages: BTreeMap::new(), survey: &survey, relabelled: BTreeSet::new() };
        assert_eq!(keys(&decide(&new, &before)), [vec!["same.html"], vec!["index.html"]]);
    }

    fn before<'a>(old: &'a SiteManifest, survey: &'a Survey) -> Before<'a> {
        Before { served: Some(old), pages: BTreeMap::new(), survey, relabelled: ["app.4f2a91c0.js"].into() }
    }

    #[test]
    fn a_header_alone_is_a_change_and_a_served_key_that_is_gone_comes_back() {
        let old = site(&[("index.html", "1"), ("a.html", "1"), ("app.4f2a91c0.js", "1")]);
        let mut new = old.clone();
        new.0.get_mut("a.html").unwrap().headers.insert("content-language".into(), "de".into());
        let mut survey = served(&[&old]);
        assert_eq!(keys(&decide(&new, &before(&old, &survey))), [vec!["app.4f2a91c0.js"], vec!["a.html"]]);
        survey.served.remove("index.html");
        assert_eq!(keys(&decide(&old, &before(&old, &survey))), [vec!["app.4f2a91c0.js"], vec!["index.html"]]);
    }
}
