//! Undoing a publish: an earlier release that is still kept is served again.

use super::{
    diff,
    publish::{forget, last_change},
};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{Activation, CdnPublisher, SiteHistory, SiteManifest},
    vocabulary::Digest,
};

const OPERATION: &str = "cdn.switch_back";

/// Serves the release `to` again, or the one that was served before the live one, and makes caches forget what
/// differs. Nothing is uploaded or deleted.
///
/// Idempotent if `to` is given, and then completes an earlier call that stopped before the invalidation. Without it,
/// twice leads back to where it began; undo data should name the release. A cancel leaves the former or the wanted
/// release. Fails with `NotFound` listing the releases that are kept, `Conflict`, and as the publisher does.
pub async fn switch_back(cx: &Context, publisher: &dyn CdnPublisher, to: Option<Digest>) -> Result<()> {
    cx.check(OPERATION)?;
    let history = publisher.history(cx).await?;
    let (release, manifest) = target(&history, to)?;
    if history.live == Some(release) {
        forget(cx, publisher, (release, &history), &last_change(&history)).await?;
        return Ok(());
    }
    publisher.activate(cx, &Activation::new(manifest.clone(), history.live)).await?;
    forget(cx, publisher, (release, &history), &diff(history.live_manifest(), manifest)).await?;
    Ok(())
}

fn target(history: &SiteHistory, to: Option<Digest>) -> Result<(Digest, &SiteManifest)> {
    let mut newest_first = history.releases.iter().rev();
    let found = match to {
        Some(wanted) => newest_first.find(|(id, _)| *id == wanted),
        None => newest_first.find(|(id, _)| Some(*id) != history.live),
    };
    if let Some((id, manifest)) = found {
        return Ok((*id, manifest));
    }
    let message = match to {
        Some(wanted) => format!("release {wanted} is not kept"),
        None => "there is no release before the one that is served".to_owned(),
    };
    let kept: Vec<String> = history.releases.iter().map(|(id, _)| id.short()).collect();
    let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
    let advice = "publish the wanted release again from its files";
    Err(Error::new(ErrorKind::NotFound, OPERATION, message).with("kept, oldest first", kept).advice(advice))
}
