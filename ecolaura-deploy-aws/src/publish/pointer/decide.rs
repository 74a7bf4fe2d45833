//! What a release's folder lacks.

use std::collections::BTreeMap;

use ecolaura_deploy_core::backend::{SiteManifest, SiteObject};

use crate::publish::{listing::Objects, switch::is_page};

/// A release's folder, as a listing tells.
pub(super) type Folder = Objects;

/// Keys to copy into a folder.
pub(super) type Lacks<'a> = Vec<(&'a str, &'a SiteObject)>;

fn has(folder: &Folder, key: &str, object: &SiteObject) -> bool {
    folder.get(key).is_some_and(|found| found.size == object.size)
}

/// What `folder` lacks of its release. Nobody else writes there, so a key of the right size is the right one.
pub(super) fn of_its_own<'a>(folder: &Folder, release: &'a SiteManifest) -> Lacks<'a> {
    let lacked = release.0.iter().filter(|(key, object)| !has(folder, key, object));
    lacked.map(|(key, object)| (key.as_str(), object)).collect()
}

/// What `folder` lacks of the assets of `others`, newest first: for the pages of those that browsers hold.
pub(super) fn of_others<'a>(
    folder: &Folder,
    release: &SiteManifest,
    others: impl Iterator<Item = &'a SiteManifest>,
) -> Lacks<'a> {
    let mut assets: BTreeMap<&str, &SiteObject> = BTreeMap::new();
    for (key, object) in others.flat_map(|other| &other.0) {
        if !is_page(object) && !release.0.contains_key(key) {
            assets.entry(key).or_insert(object);
        }
    }
    // Of a name that may change its content the size tells nothing.
    assets.into_iter().filter(|(key, object)| !object.is_immutable() || !has(folder, key, object)).collect()
}

#[cfg(test)]
mod tests {
    use ecolaura_deploy_core::{
        cdn::{content_type, default_cache_control},
        vocabulary::Digest,
    };

    use super::*;
    use crate::publish::listing::Listed;

    fn site(files: &[(&str, &str)]) -> SiteManifest {
        let object = |key: &str, text: &str| {
            SiteObject::new(Digest::of(text), text.len() as u64, content_type(key), default_cache_control(key))
        };
        SiteManifest(files.iter().map(|(key, text)| ((*key).to_owned(), object(key, text))).collect())
    }

    fn folder(site: &SiteManifest) -> Folder {
        site.0.iter().map(|(key, object)| (key.clone(), Listed { size: object.size, modified: 0 })).collect()
    }

    fn keys<'a>(lacks: &Lacks<'a>) -> Vec<&'a str> {
        lacks.iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn a_folder_that_is_half_filled_lacks_the_rest() {
        let release = site(&[("index.html", "1"), ("a.css", "11")]);
        assert_eq!(keys(&of_its_own(&Folder::new(), &release)), ["a.css", "index.html"]);
        let mut half = folder(&release);
        half.get_mut("a.css").unwrap().size = 1;
        assert_eq!(keys(&of_its_own(&half, &release)), ["a.css"]);
        assert!(of_its_own(&folder(&release), &release).is_empty());
    }

    #[test]
    fn assets_of_others_are_carried_and_their_pages_are_not() {
        let release = site(&[("index.html", "3"), ("app.4f2a91c3.js", "3")]);
        let newer = site(&[("index.html", "2"), ("old.html", "2"), ("app.4f2a91c2.js", "2"), ("a.css", "22")]);
        let older = site(&[("index.html", "1"), ("app.4f2a91c1.js", "1"), ("a.css", "1")]);
        let lacks = of_others(&Folder::new(), &release, [&newer, &older].into_iter());
        assert_eq!(keys(&lacks), ["a.css", "app.4f2a91c1.js", "app.4f2a91c2.js"]);
        assert_eq!(lacks[0].1.size, 2, "the newest one");
        let mut full = folder(&newer);
        full.extend(folder(&older));
        assert_eq!(keys(&of_others(&full, &release, [&newer, &older].into_iter())), ["a.css"], "it may have changed");
    }
}
