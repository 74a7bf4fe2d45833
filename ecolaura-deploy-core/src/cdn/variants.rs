//! The variants of a source's files, beside them in its manifest.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::{
    Compression, Encoding, SiteSource,
    compression::{Made, Wanted, make},
    key,
    source::OPERATION,
    variant_of,
};
use crate::{
    Context, Result,
    backend::{SiteManifest, SiteObject},
    vocabulary::CacheControl,
};

/// How long browsers keep what they keep for ever.
const FOR_EVER: Duration = Duration::from_hours(365 * 24);

/// The variants that the build has made, by original and encoding.
type Found = BTreeMap<(String, Encoding), PathBuf>;

impl SiteSource {
    /// With compressed variants beside the files, as `rule` has it; files that the build made as such are checked and
    /// taken. Making them costs processors and room in the machine's temporary folder, once for this source.
    pub fn compress(mut self, rule: Compression) -> Self {
        self.compression = Some(rule);
        self
    }

    /// Takes the variants out of `files`.
    pub(super) fn take_found(&self, files: &mut BTreeMap<String, PathBuf>) -> Found {
        if self.compression.is_none() {
            return Found::new();
        }
        let variants: Vec<(String, String, Encoding)> = files
            .keys()
            .filter_map(|key| {
                let (original, encoding) = variant_of(key)?;
                files.contains_key(original).then(|| (key.clone(), original.to_owned(), encoding))
            })
            .collect();
        let taken = variants
            .into_iter()
            .filter_map(|(key, original, encoding)| Some(((original, encoding), files.remove(&key)?)));
        taken.collect()
    }

    /// Puts the variants beside their originals.
    pub(super) async fn add_variants(
        &self,
        cx: &Context,
        (manifest, files): (&mut SiteManifest, &mut BTreeMap<String, PathBuf>),
        found: Found,
        problems: &mut Vec<String>,
    ) -> Result<()> {
        let Some(rule) = &self.compression else { return Ok(()) };
        let wanted = wanted(rule, manifest, files, found);
        let scratch = self.scratch()?;
        let made = make(cx, OPERATION, rule, scratch.path(), wanted.clone()).await?;
        for (wanted, made) in wanted.into_iter().zip(made) {
            match made {
                Ok(made) => {
                    let key = format!("{}{}", wanted.key, wanted.encoding.suffix());
                    problems.extend(key::refusal(&key).map(|why| format!("`{key}`: {why}")));
                    if let Some(original) = manifest.0.get(&wanted.key) {
                        let object = variant(original, wanted.encoding, &made);
                        manifest.0.insert(key.clone(), object);
                        files.insert(key, made.file);
                    }
                }
                Err(why) => problems.push(why),
            }
        }
        Ok(())
    }
}

/// What is to be made or checked. What is served encoded already has no variants.
fn wanted(
    rule: &Compression,
    manifest: &SiteManifest,
    files: &BTreeMap<String, PathBuf>,
    mut found: Found,
) -> Vec<Wanted> {
    let mut all = Vec::new();
    for (key, object) in manifest.0.iter().filter(|(_, object)| !object.headers.contains_key("content-encoding")) {
        let Some(file) = files.get(key) else { continue };
        let mut encodings: BTreeSet<Encoding> = rule.wanted(key).collect();
        encodings.extend(Encoding::ALL.into_iter().filter(|encoding| found.contains_key(&(key.clone(), *encoding))));
        for encoding in encodings {
            let found = found.remove(&(key.clone(), encoding));
            let (key, file) = (key.clone(), file.clone());
            all.push(Wanted { key, encoding, file, digest: object.digest, size: object.size, found });
        }
    }
    all
}

fn variant(original: &SiteObject, encoding: Encoding, made: &Made) -> SiteObject {
    let cache = match original.cache_control {
        CacheControl::Immutable => CacheControl::MaxAge { browser: FOR_EVER, shared: None },
        other => other,
    };
    let mut object = SiteObject::new(made.digest, made.size, original.content_type.clone(), cache);
    object.headers.clone_from(&original.headers);
    if made.encoded {
        object.headers.insert("content-encoding".to_owned(), encoding.token().to_owned());
    }
    object
}
