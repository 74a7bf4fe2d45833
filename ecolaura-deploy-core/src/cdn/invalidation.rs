//! What caches must forget after a change, and under which reference.

use std::collections::BTreeSet;

use super::{KeyChange, KeyDiff, SiteDiff, key, variant_of};
use crate::{
    Context,
    backend::Invalidation,
    vocabulary::{Digest, Digester, Name},
};

/// All paths.
pub(super) const EVERYTHING: &str = "/*";
/// How many paths may end with a wildcard. `CloudFront` has 15 of them in progress at a time, those of others among them.
const WILDCARDS: usize = 5;

/// The paths that caches may hold in an old form: of mutable keys that changed, came or went, URL-encoded and sorted.
/// `/dir/` stands beside `/dir/index.html`. What came or went together with an immutable key whose variant it is was never
/// held in another form. A key with a character that caches know in no form is forgotten with all that begin alike, as
/// `/dir/name*`. More than `limit`, or more than 5 with a wildcard, become `/*`. Without a release before there is nothing to
/// forget.
pub fn invalidation_paths(diff: &SiteDiff, limit: usize) -> Vec<String> {
    if !diff.has_old {
        return Vec::new();
    }
    let mut paths = BTreeSet::new();
    for changed in diff.changed().filter(|changed| changed.mutable && !goes_with_immutable(diff, changed)) {
        let path = key::cached_path(&changed.key);
        if let Some(folder) = path.strip_suffix("index.html").filter(|folder| folder.ends_with('/')) {
            paths.insert(folder.to_owned());
        }
        paths.insert(path);
        if paths.len() > limit {
            return vec![EVERYTHING.to_owned()];
        }
    }
    let wildcards = paths.iter().filter(|path| path.ends_with('*')).count();
    match paths.contains(EVERYTHING) || wildcards > WILDCARDS {
        true => vec![EVERYTHING.to_owned()],
        false => paths.into_iter().collect(),
    }
}

fn goes_with_immutable(diff: &SiteDiff, changed: &KeyDiff) -> bool {
    let whole = matches!(changed.change, KeyChange::Created | KeyChange::Removed);
    let original = variant_of(&changed.key).filter(|_| whole).and_then(|(original, _)| {
        let at = diff.keys.binary_search_by(|key| key.key.as_str().cmp(original)).ok()?;
        diff.keys.get(at)
    });
    original.is_some_and(|original| !original.mutable && original.change == changed.change)
}

/// The reference of an invalidation: the same for every attempt at the same wish, another for any other.
///
/// `effect` is [`Context::effect_key`]. Site, release and paths alone are not enough: a release that is published, taken
/// back and published again wants the same paths forgotten a second time.
pub fn invalidation_reference(site: &Name, release: Digest, paths: &[String], effect: &str) -> String {
    let mut digester = Digester::new();
    digester.field(site.as_str()).field(release.as_bytes()).field(effect);
    for path in paths {
        digester.field(path);
    }
    digester.finish().to_hex()
}

/// The invalidation for `paths`. Outside a run nothing tells one attempt from another, so each is a wish of its own.
pub(super) fn invalidation(cx: &Context, site: &Name, release: Digest, paths: Vec<String>) -> Invalidation {
    let effect = match cx.run_id() {
        "none" => format!("{}/{}", cx.clock().now(), std::process::id()),
        _ => cx.effect_key(),
    };
    Invalidation::new(invalidation_reference(site, release, &paths, &effect), paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{SiteManifest, SiteObject},
        cdn::{default_cache_control, diff},
        vocabulary::CacheControl,
    };

    fn site(files: &[(&str, &str)]) -> SiteManifest {
        let object = |key: &str, text: &str| {
            SiteObject::new(Digest::of(text), text.len() as u64, "text/html", default_cache_control(key))
        };
        SiteManifest(files.iter().map(|(key, text)| ((*key).to_owned(), object(key, text))).collect())
    }

    #[test]
    fn only_mutable_keys_that_changed_are_forgotten() {
        let old = site(&[("index.html", "1"), ("same.html", "1"), ("old.html", "1"), ("a.4f2a91c0.js", "1")]);
        let new = site(&[("index.html", "2"), ("same.html", "1"), ("d/index.html", "1"), ("a.5f2a91c0.js", "2")]);
        let diff = diff(Some(&old), &new);
        let paths = ["/", "/d/", "/d/index.html", "/index.html", "/old.html"];
        assert_eq!(invalidation_paths(&diff, 5), paths);
        assert_eq!(invalidation_paths(&diff, 4), ["/*"]);
    }

    #[test]
    fn keys_without_a_path_of_their_own_take_their_neighbours_with_them() {
        let forgotten = |keys: &[&str]| {
            let new: Vec<_> = keys.iter().map(|key| (*key, "2")).collect();
            invalidation_paths(
                &diff(Some(&site(&[("same.html", "1")])), &site(&[&new[..], &[("same.html", "1")]].concat())),
                9,
            )
        };
        assert_eq!(forgotten(&["a~b.html", "c.html", "d@2x~/index.html"]), ["/a*", "/c.html", "/d*"]);
        assert_eq!(forgotten(&["c.html", "~d/index.html"]), ["/*"]);
        assert_eq!(forgotten(&["a~", "b~", "c~", "d~", "e~"]).len(), 5);
        assert_eq!(forgotten(&["a~", "b~", "c~", "d~", "e~", "f~"]), ["/*"]);
    }

    #[test]
    fn variants_of_immutable_keys_come_and_go_with_them_and_those_of_pages_are_forgotten() {
        let old = site(&[("index.html", "1"), ("index.html.br", "1"), ("a.4f2a91c0.js", "1"), ("b.4f2a91c0.js", "1")]);
        let mut new =
            site(&[("index.html", "2"), ("index.html.br", "2"), ("a.5f2a91c0.js", "2"), ("b.4f2a91c0.js", "1")]);
        for key in ["a.5f2a91c0.js.br", "b.4f2a91c0.js.br"] {
            let object = SiteObject::new(Digest::of(key), 1, "text/javascript", CacheControl::Revalidate);
            new.0.insert(key.to_owned(), object);
        }
        let paths = ["/", "/b.4f2a91c0.js.br", "/index.html", "/index.html.br"];
        assert_eq!(invalidation_paths(&diff(Some(&old), &new), 9), paths);
    }

    #[test]
    fn nothing_is_forgotten_before_the_first_release_and_index_is_a_whole_name() {
        let new = site(&[("index.html", "1"), ("reindex.html", "1")]);
        assert!(invalidation_paths(&diff(None, &new), 9).is_empty());
        let old = site(&[("index.html", "1"), ("reindex.html", "0")]);
        assert_eq!(invalidation_paths(&diff(Some(&old), &new), 9), ["/reindex.html"]);
    }

    #[test]
    fn a_reference_is_of_site_release_paths_and_effect() {
        let (site, other) = (Name::new("web").unwrap(), Name::new("docs").unwrap());
        let paths = ["/a".to_owned(), "/b".to_owned()];
        let reference = invalidation_reference(&site, Digest::of("1"), &paths, "run/step");
        assert_eq!(reference, invalidation_reference(&site, Digest::of("1"), &paths, "run/step"));
        let others = [
            invalidation_reference(&other, Digest::of("1"), &paths, "run/step"),
            invalidation_reference(&site, Digest::of("2"), &paths, "run/step"),
            invalidation_reference(&site, Digest::of("1"), &paths[..1], "run/step"),
            invalidation_reference(&site, Digest::of("1"), &paths, "run2/step"),
        ];
        assert!(!others.contains(&reference));
    }
}
