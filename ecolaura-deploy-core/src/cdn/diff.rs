//! What differs between two releases of a site.

use std::{cmp::Ordering, collections::btree_map, fmt, iter::Peekable};

use crate::backend::{SiteManifest, SiteObject};

/// What happened to a key from one release to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyChange {
    /// It is new.
    Created,
    /// Its content differs, and perhaps its headers.
    ContentChanged,
    /// Its content is the same, a header differs.
    HeadersChanged,
    /// Nothing.
    Unchanged,
    /// It is gone from the release. Its object stays until it is pruned.
    Removed,
}

impl KeyChange {
    /// The reason, as plans show it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Created => "not found",
            Self::ContentChanged => "content",
            Self::HeadersChanged => "headers",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed from pages",
        }
    }
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// One key and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyDiff {
    /// The key.
    pub key: String,
    /// What happened to it.
    pub change: KeyChange,
    /// Whether it is, or was, served under a name whose content may change.
    pub mutable: bool,
}

/// What differs between two releases, sorted by key. Every key of either is there once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SiteDiff {
    /// The keys.
    pub keys: Vec<KeyDiff>,
    /// Whether there was a release before.
    pub has_old: bool,
}

impl SiteDiff {
    /// The keys that are not [`KeyChange::Unchanged`].
    pub fn changed(&self) -> impl Iterator<Item = &KeyDiff> {
        self.keys.iter().filter(|key| key.change != KeyChange::Unchanged)
    }

    /// How many keys changed in this way.
    pub fn count(&self, change: KeyChange) -> usize {
        self.keys.iter().filter(|key| key.change == change).count()
    }

    /// Whether both releases are the same.
    pub fn is_empty(&self) -> bool {
        self.changed().next().is_none()
    }
}

type Objects<'a> = Peekable<btree_map::Iter<'a, String, SiteObject>>;

/// Compares `new` with `old` in one pass over both.
///
/// ```
/// use ecolaura_deploy_core::{backend::SiteManifest, cdn::diff};
/// assert!(diff(None, &SiteManifest::default()).is_empty());
/// ```
pub fn diff(old: Option<&SiteManifest>, new: &SiteManifest) -> SiteDiff {
    let empty = SiteManifest::default();
    let mut before: Objects<'_> = old.unwrap_or(&empty).0.iter().peekable();
    let mut after: Objects<'_> = new.0.iter().peekable();
    let mut keys = Vec::with_capacity(new.0.len());
    while let Some(key) = next(&mut before, &mut after) {
        keys.push(key);
    }
    SiteDiff { keys, has_old: old.is_some() }
}

fn next(before: &mut Objects<'_>, after: &mut Objects<'_>) -> Option<KeyDiff> {
    let order = match (before.peek(), after.peek()) {
        (None, None) => return None,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some((old, _)), Some((new, _))) => old.cmp(new),
    };
    let old = if order.is_le() { before.next() } else { None };
    let new = if order.is_ge() { after.next() } else { None };
    let (key, _) = new.or(old)?;
    let mutable = [old, new].into_iter().flatten().any(|(_, object)| !object.is_immutable());
    let change = change(old.map(|(_, object)| object), new.map(|(_, object)| object));
    Some(KeyDiff { key: key.clone(), change, mutable })
}

fn change(old: Option<&SiteObject>, new: Option<&SiteObject>) -> KeyChange {
    match (old, new) {
        (None, _) => KeyChange::Created,
        (_, None) => KeyChange::Removed,
        (Some(old), Some(new)) if old.digest != new.digest => KeyChange::ContentChanged,
        (Some(old), Some(new)) if old != new => KeyChange::HeadersChanged,
        _ => KeyChange::Unchanged,
    }
}

/// The keys whose name promises one content for ever and which hold another in a release that is kept, sorted. With
/// `in_place` the promise of one of the two is enough, since both contents cannot be stored.
pub(super) fn rewritten<'a>(
    kept: impl Iterator<Item = &'a SiteManifest>,
    new: &SiteManifest,
    in_place: bool,
) -> Vec<String> {
    let kept: Vec<&SiteManifest> = kept.collect();
    let clash = |one: &SiteObject, other: &SiteObject| {
        let promises = (one.is_immutable(), other.is_immutable());
        one.digest != other.digest && (promises == (true, true) || (in_place && promises != (false, false)))
    };
    let differs = |(key, object): &(&String, &SiteObject)| {
        kept.iter().filter_map(|manifest| manifest.0.get(*key)).any(|other| clash(object, other))
    };
    new.0.iter().filter(differs).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{CacheControl, Digest};

    fn site(files: &[(&str, &str, CacheControl)]) -> SiteManifest {
        let object = |text: &str, cache| SiteObject::new(Digest::of(text), text.len() as u64, "text/plain", cache);
        SiteManifest(files.iter().map(|(key, text, cache)| ((*key).to_owned(), object(text, *cache))).collect())
    }

    #[test]
    fn every_key_of_either_is_there_once_in_order() {
        use CacheControl::{Immutable, NoStore, Revalidate};
        let old =
            site(&[("a", "1", Revalidate), ("b", "1", Revalidate), ("c", "1", Revalidate), ("e", "1", Immutable)]);
        let new = site(&[("a", "1", Revalidate), ("b", "2", Revalidate), ("c", "1", NoStore), ("d", "1", Immutable)]);
        let diff = diff(Some(&old), &new);
        let seen: Vec<_> = diff.keys.iter().map(|key| (key.key.as_str(), key.change, key.mutable)).collect();
        let expected = [
            ("a", KeyChange::Unchanged, true),
            ("b", KeyChange::ContentChanged, true),
            ("c", KeyChange::HeadersChanged, true),
            ("d", KeyChange::Created, false),
            ("e", KeyChange::Removed, false),
        ];
        assert_eq!(seen, expected);
        assert_eq!(diff.changed().count(), 4);
    }

    #[test]
    fn a_name_for_ever_cannot_change_its_content() {
        use CacheControl::{Immutable, Revalidate};
        let kept = ["1", "2"].map(|text| {
            site(&[("a", "1", Immutable), ("b", text, Revalidate), ("c", "1", Immutable), ("d", text, Revalidate)])
        });
        let new = site(&[("a", "2", Immutable), ("b", "2", Immutable), ("c", "2", Revalidate), ("d", "3", Revalidate)]);
        assert_eq!(rewritten(kept.iter(), &new, false), ["a"]);
        assert_eq!(rewritten(kept.iter(), &new, true), ["a", "b", "c"], "two contents do not fit into one place");
        let same = site(&[("a", "1", Revalidate), ("c", "1", Immutable), ("d", "2", Revalidate)]);
        assert_eq!(rewritten(kept.iter(), &same, true), [] as [&str; 0]);
    }
}
