//! How an image has its bill of materials: one rule for all builders.

use crate::{
    Context, Result,
    local::{
        files::blocking,
        oci::{Annotated, BILL, Descriptor, EMPTY, Layout, MANIFEST, Manifest, SUBJECT, write},
    },
    vocabulary::{BuiltImage, Digest},
};

/// The annotation of a manifest with the digest of its bill of materials: the same files with another bill are
/// another image, so that no image is judged by two bills.
const BILL_OF: &str = "com.ecolaura.deploy.bill";

/// Stores `document`, an image's manifest or an index, as one whose bill is `bill`, and the bill as an artifact whose
/// subject it is. Neither is in the index of the layout yet.
pub(crate) fn store_with_bill(
    operation: &'static str,
    layout: &Layout,
    (media_type, mut document): (&str, impl Annotated),
    bill: Option<&[u8]>,
) -> Result<(Descriptor, Option<Descriptor>)> {
    if let Some(bill) = bill {
        document.annotate(BILL_OF, Digest::of(bill).to_string());
    }
    let image = layout.store(operation, media_type, &write(operation, &document)?)?;
    let attached = bill.map(|bill| attach(operation, layout, &image, bill)).transpose()?;
    Ok((image, attached))
}

fn attach(operation: &'static str, layout: &Layout, image: &Descriptor, bill: &[u8]) -> Result<Descriptor> {
    layout.store(operation, EMPTY, b"{}")?;
    let artifact = Manifest::artifact(BILL, image.clone(), layout.store(operation, BILL, bill)?);
    let entry = layout.store(operation, MANIFEST, &write(operation, &artifact)?)?;
    Ok(entry.artifact(BILL).annotated(SUBJECT, image.digest.to_string()))
}

/// Whether the image is listed and whole, with its bill if it has one.
pub(crate) async fn exists(cx: &Context, image: &BuiltImage) -> Result<bool> {
    const OPERATION: &str = "image.exists";
    cx.check(OPERATION)?;
    let (layout, digest) = (Layout::new(&image.layout), image.digest);
    let unit = move || {
        if !layout.stores(OPERATION, digest)? {
            return Ok(false);
        }
        let annotations = layout.manifest(OPERATION, digest)?.annotations.unwrap_or_default();
        let billed = annotations.contains_key(BILL_OF);
        Ok(!billed || layout.index(OPERATION)?.attached(digest).next().is_some())
    };
    blocking(OPERATION, unit).await
}
