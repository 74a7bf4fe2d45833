//! What a publish would change.

use std::collections::{BTreeMap, BTreeSet};

use super::{KeyChange, PreparedSite, SiteDiff, diff, publish};
use crate::{
    Context, Result,
    backend::CdnPublisher,
    plan::{Action, Change, World},
    vocabulary::Name,
};

/// How many keys a plan names one by one; the rest is counted.
const NAMED: usize = 200;

/// What [`super::publish`] would change: an object `SITE/key` for each key with the reason `not found`, `content`,
/// `headers` or `removed from pages`, at most 200 of them and then counts; one `SITE/*` for all that stay. Reads only.
/// The first line that changes something has what the publisher would be charged for as details. Fails as the publisher
/// does, and with `InvalidInput` if a key that is served as immutable would change its content, or, where there is room for
/// one content only ([`CdnCapabilities::in_place`](crate::backend::CdnCapabilities::in_place)), a key that was so in a release
/// that is kept.
pub async fn plan(cx: &Context, publisher: &dyn CdnPublisher, site: &PreparedSite) -> Result<Vec<Change>> {
    let history = publisher.history(cx).await?;
    publish::refuse_rewritten(publisher, &history, site.manifest())?;
    let missing = publisher.missing(cx, site.manifest()).await?;
    let mut changes = changes(publisher.name(), &diff(history.live_manifest(), site.manifest()), &missing);
    if let Some(first) = changes.iter_mut().find(|change| change.action != Action::NoOp) {
        first.details.extend(publisher.cost(&history, site.manifest(), &missing));
    }
    Ok(changes)
}

fn changes(site: &Name, diff: &SiteDiff, missing: &[String]) -> Vec<Change> {
    let missing: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
    let mut lines = Vec::new();
    let mut rest: BTreeMap<KeyChange, usize> = BTreeMap::new();
    let mut unchanged = 0;
    for key in &diff.keys {
        let lost = key.change == KeyChange::Unchanged && missing.contains(key.key.as_str());
        let change = if lost { KeyChange::Created } else { key.change };
        if change == KeyChange::Unchanged {
            unchanged += 1;
        } else if lines.len() < NAMED {
            lines.push(Change::new(World::Cdn, format!("{site}/{}", key.key), action(change), change.reason()));
        } else {
            *rest.entry(change).or_insert(0) += 1;
        }
    }
    for (change, count) in rest {
        let reason = format!("{count} more: {change}");
        lines.push(Change::new(World::Cdn, format!("{site}/*"), action(change), reason));
    }
    if unchanged > 0 {
        lines.push(Change::unchanged(World::Cdn, format!("{site}/*")).detail(format!("{unchanged} files")));
    }
    lines
}

fn action(change: KeyChange) -> Action {
    match change {
        KeyChange::Created => Action::Create,
        KeyChange::ContentChanged | KeyChange::HeadersChanged => Action::Update,
        KeyChange::Unchanged => Action::NoOp,
        KeyChange::Removed => Action::Delete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{SiteManifest, SiteObject},
        vocabulary::{CacheControl, Digest},
    };

    fn site(count: usize) -> SiteManifest {
        let object = || SiteObject::new(Digest::of("x"), 1, "text/plain", CacheControl::Revalidate);
        SiteManifest((0..count).map(|number| (format!("{number:04}"), object())).collect())
    }

    #[test]
    fn what_stays_is_one_line() {
        let lines = changes(&Name::new("web").unwrap(), &diff(Some(&site(9)), &site(9)), &[]);
        let shown: Vec<_> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["= cdn web/*: unchanged"]);
        assert_eq!(lines[0].details, ["9 files"]);
    }

    #[test]
    fn more_than_200_are_counted_by_reason() {
        let lines = changes(&Name::new("web").unwrap(), &diff(Some(&site(3)), &site(1000)), &["0001".to_owned()]);
        assert_eq!(lines.len(), 202);
        assert_eq!(lines[0].to_string(), "+ cdn web/0001: not found");
        assert_eq!(lines[200].to_string(), "+ cdn web/*: 798 more: not found");
        assert_eq!(lines[201].details, ["2 files"]);
    }
}
