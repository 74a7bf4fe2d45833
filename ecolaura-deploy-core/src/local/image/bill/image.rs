//! What an image itself says is in it: its package databases, and lock files that were copied into it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use tar::EntryType;

use super::{
    super::layers::{self, Change},
    Bill,
    installed::{Distribution, apk, dpkg},
    is_lock_file,
};
use crate::{
    Context, Result,
    local::oci::{DOCUMENT, Layout},
    vocabulary::Digest,
};

const RELEASES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
const APK: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
const DPKG: &str = "var/lib/dpkg/status";
/// Where images without a package manager have a file for each package.
const DPKG_FOLDER: &str = "var/lib/dpkg/status.d/";
/// Databases of rpm, which are not read here.
const RPM: [&str; 2] = ["var/lib/rpm/", "usr/lib/sysimage/rpm/"];
const RPM_FILES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];

/// What a file that tells of packages is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Release,
    Lock,
    Dpkg,
    Apk,
    Rpm,
}

/// What is in such a file, or why that is not known.
type Content = std::result::Result<Vec<u8>, &'static str>;

impl Bill {
    /// Adds what the image whose manifest is `digest` says is in it. Its layers are read as a stream; only files that
    /// tell of packages are kept. Blocks.
    pub(crate) fn image(
        &mut self,
        (cx, operation): (&Context, &'static str),
        layout: &Layout,
        digest: Digest,
    ) -> Result<()> {
        let manifest = layout.manifest(operation, digest)?;
        let mut found = BTreeMap::new();
        let (read, unread): (Vec<_>, Vec<_>) = manifest.layers.into_iter().partition(|one| one.packing().is_some());
        for layer in unread {
            self.unknown(cx, &layer.digest.to_string(), &format!("a layer of the kind `{}`", layer.media_type));
        }
        layers::read((cx, operation), layout, &read, &mut |change| note(&mut found, change))?;
        self.add_found(cx, &found);
        Ok(())
    }

    fn add_found(&mut self, cx: &Context, found: &BTreeMap<String, Content>) {
        let release = RELEASES.iter().find_map(|path| found.get(*path)?.as_ref().ok());
        let distribution = Distribution::parse(&String::from_utf8_lossy(release.map_or(&[], Vec::as_slice)));
        for (path, content) in found {
            let Some(kind) = kind(path) else { continue };
            let shown = format!("/{path}");
            let content = match content {
                Ok(content) => content,
                Err(why) if kind != Kind::Release => {
                    self.unknown(cx, &shown, why);
                    continue;
                }
                Err(_) => continue,
            };
            let text = String::from_utf8_lossy(content);
            let added = match kind {
                Kind::Release => Ok(()),
                Kind::Lock => {
                    self.lock_file(cx, &shown, content);
                    Ok(())
                }
                Kind::Dpkg => dpkg(&text, &distribution, &mut self.0),
                Kind::Apk => apk(&text, &distribution, &mut self.0),
                Kind::Rpm => Err("a database of rpm, which is not read".to_owned()),
            };
            if let Err(why) = added {
                self.unknown(cx, &shown, &why);
            }
        }
    }
}

fn kind(path: &str) -> Option<Kind> {
    let one_of_folder = |name: &str| !name.contains('/') && !name.ends_with(".md5sums") && !name.is_empty();
    let of_rpm = |folder: &&str| path.strip_prefix(*folder).is_some_and(|name| RPM_FILES.contains(&name));
    Some(match path {
        DPKG => Kind::Dpkg,
        _ if path.strip_prefix(DPKG_FOLDER).is_some_and(one_of_folder) => Kind::Dpkg,
        _ if APK.contains(&path) => Kind::Apk,
        _ if RELEASES.contains(&path) => Kind::Release,
        _ if RPM.iter().any(of_rpm) => Kind::Rpm,
        _ if is_lock_file(path) => Kind::Lock,
        _ => return None,
    })
}

fn note(found: &mut BTreeMap<String, Content>, change: Change<'_>) -> io::Result<()> {
    let below = |found: &mut BTreeMap<String, Content>, folder: &str| {
        found.retain(|path, _| {
            !path.strip_prefix(folder).is_some_and(|rest| folder.is_empty() || rest.starts_with('/'))
        });
    };
    match change {
        Change::Emptied(folder) => below(found, folder),
        Change::Removed(path) => {
            found.remove(path);
            below(found, path);
        }
        Change::Put { kind: EntryType::Directory, .. } => {}
        Change::Put { path, kind: entry, content, .. } => {
            found.remove(path);
            below(found, path);
            if let Some(kind) = kind(path) {
                found.insert(path.to_owned(), read(kind, entry, content)?);
            }
        }
    }
    Ok(())
}

fn read(kind: Kind, entry: EntryType, content: &mut dyn Read) -> io::Result<Content> {
    if kind == Kind::Rpm {
        return Ok(Ok(Vec::new()));
    }
    if !matches!(entry, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) {
        return Ok(Err("a link, which is not followed"));
    }
    let mut bytes = Vec::new();
    content.take(DOCUMENT + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > DOCUMENT { Err("too large") } else { Ok(bytes) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::image::MANIFEST;

    /// The components of the bill of an image that has this one layer, and the layer's digest.
    fn components(kind: &str, layer: &[u8]) -> (Vec<Value>, String) {
        let dir = tempfile::tempdir().unwrap();
        let (cx, layout) = (Context::new("test".parse().unwrap()), Layout::new(dir.path()));
        layout.create("test").unwrap();
        let layer = layout.store("test", kind, layer).unwrap();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "layers": [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}]});
        let image = layout.store("test", MANIFEST, manifest.to_string().as_bytes()).unwrap();
        let mut bill = Bill::default();
        bill.image((&cx, "test"), &layout, image.digest).unwrap();
        let mut bill: Value = serde_json::from_slice(&bill.write("test").unwrap().unwrap()).unwrap();
        (serde_json::from_value(bill["components"].take()).unwrap(), layer.digest.to_string())
    }

    #[test]
    fn lock_files_of_all_kinds_are_found_in_layers() {
        let mut layer = tar::Builder::new(Vec::new());
        for path in ["app/yarn.lock", "app/node_modules/a/yarn.lock", "srv/go.sum"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o644);
            layer.append_data(&mut header, path, &b"x"[..]).unwrap();
        }
        let (found, _) = components("application/vnd.oci.image.layer.v1.tar", &layer.into_inner().unwrap());
        let names: Vec<_> = found.iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["/app/yarn.lock", "/srv/go.sum"]);
    }

    #[test]
    fn a_layer_that_cannot_be_read_keeps_the_bill_from_passing() {
        let (found, layer) = components("application/vnd.oci.image.layer.v1.tar+zstd", b"packed");
        assert!(found[0]["name"] == layer && found[0]["purl"].is_null(), "{found:?}");
    }
}
