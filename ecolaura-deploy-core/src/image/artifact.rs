//! What is attached to an image.

use super::{Descriptor, EMPTY, Manifest};

impl Manifest {
    /// The artifact of `kind` that holds `layer` and is attached to `subject`. It has the empty configuration, `{}`.
    pub(crate) fn artifact(kind: &str, subject: Descriptor, layer: Descriptor) -> Self {
        let artifact = Self::new(Descriptor::of(EMPTY, b"{}"), vec![layer]);
        Self { artifact_type: Some(kind.to_owned()), subject: Some(subject), ..artifact }
    }
}
