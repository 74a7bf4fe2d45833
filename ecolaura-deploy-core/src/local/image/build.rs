//! Writing an image into a layout: layers, configuration, manifest, what is attached, the index at the end.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    LayoutBuilder,
    attached::store_with_bill,
    base::Base,
    config::configuration,
    inspect::Inspected,
    pack::{Packed, Packer, content_size},
    problems::Problems,
    walk::Nodes,
};
use crate::{
    Context, Error, Result,
    backend::ImageSpec,
    local::{
        files::blocking,
        oci::{self, CONFIG, Descriptor, Index, Layout, MANIFEST, Manifest, SUBJECT, Sweep},
    },
    vocabulary::{BuiltImage, Digest},
};

const OPERATION: &str = "image.build";
/// The annotation of an index's entry that a builder made, with its name.
pub(crate) const BUILT_BY: &str = "com.ecolaura.deploy.built-by";
/// How many layers are read at the same time.
const LAYERS: usize = 4;
/// How often progress is told, in bytes.
const REPORT: u64 = 8 * 1024 * 1024;

/// Builds the image of `spec` as `builder` is set up.
pub(super) async fn build(cx: &Context, builder: &LayoutBuilder, spec: &ImageSpec) -> Result<BuiltImage> {
    cx.check(OPERATION)?;
    let (context, wanted) = (cx.clone(), spec.clone());
    let (inspected, layers) = blocking(OPERATION, move || inspect(&context, &wanted)).await?;
    let layout = &builder.layout;
    let _writing = layout.writing(cx, OPERATION, Sweep::Unreferenced).await?;
    let packed = pack(cx, layout, layers).await?;
    let (context, target, wanted) = (cx.clone(), layout.clone(), spec.clone());
    let written = blocking(OPERATION, move || write(&context, &target, &wanted, &inspected, &packed)).await?;
    cx.check(OPERATION)?;
    let (name, keep) = (builder.name.to_string(), builder.keep.get());
    let entry = written.image.clone().on(&spec.platform).annotated(BUILT_BY, name);
    let (digest, attached) = (entry.digest, written.attached);
    let record = move |index: &mut Index| {
        list(index, entry, attached, keep);
        Ok(())
    };
    layout.update(cx, OPERATION, record).await?;
    let dir = std::path::absolute(layout.dir()).map_err(|error| Error::io(OPERATION, layout.dir(), error))?;
    Ok(BuiltImage::new(dir, digest, spec.platform.clone(), written.size))
}

fn inspect(cx: &Context, spec: &ImageSpec) -> Result<(Inspected, Vec<Nodes>)> {
    let mut problems = Problems::default();
    let inspected = Inspected::of(cx, OPERATION, spec, &mut problems)?;
    problems.refuse(OPERATION)?;
    let layers = inspected.stacked(cx, OPERATION)?;
    Ok((inspected, layers))
}

async fn pack(cx: &Context, layout: &Layout, layers: Vec<Nodes>) -> Result<Vec<Packed>> {
    let (done, total, packer) = (AtomicU64::new(0), content_size(&layers), Packer::new(OPERATION));
    let report = |bytes: u64| {
        let before = done.fetch_add(bytes, Ordering::Relaxed);
        if before / REPORT != (before + bytes) / REPORT {
            cx.progress("bytes", (before + bytes).min(total), Some(total));
        }
    };
    stream::iter(layers).map(|nodes| packer.pack(cx, layout, nodes, report)).buffered(LAYERS).try_collect().await
}

/// What was written and is not yet in the index.
struct Written {
    image: Descriptor,
    attached: Option<Descriptor>,
    /// The bytes of all blobs of the image.
    size: u64,
}

fn write(cx: &Context, layout: &Layout, spec: &ImageSpec, inspected: &Inspected, packed: &[Packed]) -> Result<Written> {
    let base = inspected.base.as_ref();
    for (base, layer) in base.into_iter().flat_map(|base| base.manifest.layers.iter().map(move |layer| (base, layer))) {
        layout.import(cx, OPERATION, &base.layout, layer.digest)?;
    }
    let diff_ids: Vec<Digest> = packed.iter().map(|layer| layer.diff_id).collect();
    let config = oci::write(OPERATION, &configuration(spec, base.map(|base| &base.config), &diff_ids))?;
    let config = layout.store(OPERATION, CONFIG, &config)?;
    let layers = base.map(Base::layers).unwrap_or_default();
    let layers = layers.into_iter().chain(packed.iter().map(|layer| layer.blob.clone())).collect();
    let manifest = Manifest::new(config, layers);
    let size = manifest.size();
    let (image, attached) = store_with_bill(OPERATION, layout, (MANIFEST, manifest), inspected.bill.as_deref())?;
    Ok(Written { size: image.size + size, image, attached })
}

/// Makes `entry` the newest in `index`, and forgets those of builders beyond the newest `keep`. What another tool put
/// there stays.
pub(crate) fn list(index: &mut Index, entry: Descriptor, attached: Option<Descriptor>, keep: usize) {
    let built = |one: &Descriptor| one.annotation(BUILT_BY).is_some();
    let digest = entry.digest;
    let mut forgotten = vec![digest];
    let others: Vec<_> = index.manifests.iter().filter(|one| built(one) && one.digest != digest).collect();
    let surplus = (others.len() + 1).saturating_sub(keep);
    forgotten.extend(others.iter().take(surplus).map(|one| one.digest));
    index.manifests.retain(|one| {
        let subject = one.annotation(SUBJECT).and_then(|subject| subject.parse().ok());
        !(built(one) && forgotten.contains(&one.digest) || subject.is_some_and(|one| forgotten.contains(&one)))
    });
    index.manifests.push(entry);
    index.manifests.extend(attached);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_what_is_not_ours() {
        let of = |text: &str| Descriptor::of(MANIFEST, text.as_bytes());
        let bill = |text: &str| of(&format!("bill {text}")).annotated(SUBJECT, Digest::of(text).to_string());
        let mut index = Index::default();
        index.manifests.push(of("foreign"));
        for text in ["a", "b", "a", "c"] {
            list(&mut index, of(text).annotated(BUILT_BY, "x"), Some(bill(text)), 2);
        }
        let expected: Vec<_> = [of("foreign"), of("a"), bill("a"), of("c"), bill("c")].map(|one| one.digest).to_vec();
        assert_eq!(index.manifests.iter().map(|one| one.digest).collect::<Vec<_>>(), expected);
    }
}
