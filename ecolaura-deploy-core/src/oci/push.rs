//! From a layout into the registry: blobs first, then what is attached to the image, the image's manifest at the end. So
//! an image that is there is there as a whole.

use super::{
    OciRegistry,
    bring::{self, Reached},
    call::{Call, PUSH},
    origin::{Origin, lost},
};
use crate::{
    Context, Result,
    files::blocking,
    image::{Cargo, Layout},
    vocabulary::{BuiltImage, Repository},
};

const OPERATION: &str = "registry.push";

pub(super) async fn push(registry: &OciRegistry, cx: &Context, image: &BuiltImage, to: &Repository) -> Result<()> {
    let reached = Reached::default();
    let work = bring(registry, cx, (image, to), &reached);
    cx.bounded(OPERATION, work).await.flatten().map_err(|error| reached.judge(error))
}

async fn bring(
    registry: &OciRegistry,
    cx: &Context,
    (image, to): (&BuiltImage, &Repository),
    reached: &Reached,
) -> Result<()> {
    let call = Call::own(registry, (cx, OPERATION), to, PUSH).await?;
    let (layout, digest) = (Layout::new(&image.layout), image.digest);
    let from = layout.clone();
    let mut cargo = blocking(OPERATION, move || Cargo::of(OPERATION, &from, digest)).await.map_err(lost)?;
    bring::blobs(&call, Origin::Layout(&layout), &cargo.blobs, reached).await?;
    let own = cargo.manifests.iter().position(|manifest| manifest.digest == digest).map_or(0, |at| at + 1);
    cargo.manifests.rotate_left(own);
    for manifest in cargo.manifests {
        if manifest.digest == digest {
            reached.note(Reached::MANIFEST);
        }
        let (layout, wanted) = (layout.clone(), manifest.digest);
        let bytes = blocking(OPERATION, move || layout.document(OPERATION, wanted)).await.map_err(lost)?;
        bring::manifest(&call, &manifest.media_type, bytes).await?;
    }
    Ok(())
}
