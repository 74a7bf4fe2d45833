//! Listing tags.

use reqwest::StatusCode;
use serde::Deserialize;

use super::{
    OciRegistry,
    call::{Call, PULL},
};
use crate::{
    Context, Error, ErrorKind, Result,
    vocabulary::{Repository, Tag},
};

const OPERATION: &str = "registry.tags";
/// How many tags are asked for at a time; a registry may answer with fewer.
const AT_A_TIME: u32 = 1000;

#[derive(Debug, Deserialize)]
struct Page {
    /// `null` of a repository without any.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl OciRegistry {
    /// All tags of `repository`, sorted; none if it is not there. Where a registry has no list of what is attached to
    /// images, the tags that stand in for it (`sha256-` and a digest) are among them. Reads only.
    ///
    /// A list that does not end, or leads out of itself, is an [`ErrorKind::Unsupported`] or
    /// [`ErrorKind::LimitExceeded`]: half of a list is never answered.
    pub async fn tags(&self, cx: &Context, repository: &Repository) -> Result<Vec<Tag>> {
        cx.bounded(OPERATION, list(self, cx, repository)).await?
    }
}

async fn list(registry: &OciRegistry, cx: &Context, repository: &Repository) -> Result<Vec<Tag>> {
    let Some(call) = Call::within(registry, (cx, OPERATION), repository, PULL).await? else { return Ok(Vec::new()) };
    let what = format!("the list of tags, of `{}`,", registry.place.host);
    let first = call.url(&format!("tags/list?n={AT_A_TIME}"))?;
    let pages: Vec<Page> = call.pages(&what, first, &[StatusCode::NOT_FOUND]).await?.unwrap_or_default();
    let names = pages.into_iter().flat_map(|page| page.tags.unwrap_or_default());
    let mut tags = names.map(|name| tag(&call, &name)).collect::<Result<Vec<_>>>()?;
    tags.sort();
    tags.dedup();
    Ok(tags)
}

fn tag(call: &Call<'_>, name: &str) -> Result<Tag> {
    name.parse().map_err(|error| {
        let message = format!("`{}` lists a tag that is none", call.registry.place.host);
        Error::new(ErrorKind::Corrupt, call.operation, message).with_source(error)
    })
}
