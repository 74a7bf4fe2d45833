use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    sync::{Arc, Mutex},
};

use serde_json::json;

use super::*;
use crate::{
    backend::{BlobReader, RegistryCapabilities, TagChange},
    vocabulary::{BuiltImage, Digest, Repository, Tag},
};

const ADVISORY: &str = r#"{
  "id": "RUSTSEC-2020-0071", "summary": "Potential segfault in the time crate",
  "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
  "affected": [{"package": {"ecosystem": "crates.io", "name": "time"},
    "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "0.2.23"}]}]}]
}"#;

/// Blobs by digest, and what is attached to what.
#[derive(Debug, Default)]
struct Shelf {
    blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    attached: Mutex<Vec<(Digest, String, Digest)>>,
}

impl Shelf {
    fn put(&self, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.blobs.lock().unwrap().insert(digest, bytes);
        digest
    }

    fn image(&self, user: &str, layers: &[(&str, Vec<u8>)]) -> PinnedImage {
        let config = self.put(json!({"config": {"User": user}}).to_string());
        let layers: Vec<_> = layers
            .iter()
            .map(|(kind, bytes)| json!({"mediaType": kind, "digest": self.put(bytes.clone()), "size": bytes.len()}))
            .collect();
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1});
        let digest = self.put(json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string());
        PinnedImage::new("ecolaura/backend".parse().unwrap(), digest)
    }

    fn attach(&self, image: &PinnedImage, bill: &str) {
        let kind = "application/vnd.cyclonedx+json";
        let layer = json!({"mediaType": kind, "digest": self.put(bill), "size": bill.len()});
        let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": self.put("{}"), "size": 2});
        let digest = self.put(json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string());
        self.attached.lock().unwrap().push((image.digest, kind.to_owned(), digest));
    }
}

#[async_trait]
impl Registry for Shelf {
    fn name(&self) -> &Name {
        static NAME: std::sync::LazyLock<Name> = std::sync::LazyLock::new(|| "shelf".parse().unwrap());
        &NAME
    }
    fn capabilities(&self) -> RegistryCapabilities {
        RegistryCapabilities::new()
    }
    async fn resolve(&self, _: &Context, _: &Repository, _: &Tag) -> Result<Option<PinnedImage>> {
        Ok(None)
    }
    async fn contains(&self, _: &Context, image: &PinnedImage) -> Result<bool> {
        Ok(self.blobs.lock().unwrap().contains_key(&image.digest))
    }
    async fn push(&self, _: &Context, _: &BuiltImage, _: &Repository) -> Result<PinnedImage> {
        Err(Error::new(ErrorKind::Unsupported, "registry.push", "a shelf"))
    }
    async fn set_tag(&self, _: &Context, _: &TagChange) -> Result<Option<Digest>> {
        Ok(None)
    }
    async fn manifest(&self, _: &Context, image: &PinnedImage) -> Result<Vec<u8>> {
        let found = self.blobs.lock().unwrap().get(&image.digest).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, "registry.manifest", "no manifest"))
    }
    async fn blob(&self, _: &Context, _: &Repository, digest: &Digest) -> Result<BlobReader> {
        let found = self.blobs.lock().unwrap().get(digest).cloned();
        let bytes = found.ok_or_else(|| Error::new(ErrorKind::NotFound, "registry.blob", "no blob"))?;
        Ok(Box::new(std::io::Cursor::new(bytes)))
    }
    async fn referrers(&self, _: &Context, image: &PinnedImage) -> Result<Vec<(String, Digest)>> {
        let attached = self.attached.lock().unwrap();
        let of_image = attached.iter().filter(|(subject, ..)| *subject == image.digest);
        Ok(of_image.map(|(_, kind, digest)| (kind.clone(), *digest)).collect())
    }
}

const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn tar(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_entry_type(tar::EntryType::Regular);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bill(packages: &[&str]) -> String {
    let components: Vec<_> =
        packages.iter().map(|purl| json!({"type": "library", "name": purl, "purl": purl})).collect();
    json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components}).to_string()
}

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

fn scanner(shelf: &Arc<Shelf>) -> (tempfile::TempDir, ContentScanner) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("crates")).unwrap();
    fs::write(folder.path().join("crates/RUSTSEC-2020-0071.json"), ADVISORY).unwrap();
    let scanner = ContentScanner::new(Arc::clone(shelf) as _, ScanPolicy::new(folder.path()));
    (folder, scanner)
}

async fn findings(scanner: &ContentScanner, image: &PinnedImage) -> Vec<(String, String)> {
    match scanner.scan(&cx(), image).await.unwrap().outcome {
        ScanOutcome::Findings { findings } => findings.into_iter().map(|one| (one.id, one.subject)).collect(),
        other => panic!("{other:?}"),
    }
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn conforms() {
    use crate::testing::conformance::small::scanner::{Content, suite};
    let folders = &Mutex::new(Vec::new());
    suite(|content| async move {
        let shelf = Arc::new(Shelf::default());
        let (folder, scanner) = scanner(&shelf);
        folders.lock().unwrap().push(folder);
        let image = match content {
            Content::Missing => PinnedImage::new("a/b".parse().unwrap(), Digest::of("missing")),
            _ => shelf.image("1000", &[(GZIP, gzip(&tar(&[("app", 0o755, b"binary")])))]),
        };
        match content {
            Content::Clean => shelf.attach(&image, &bill(&["pkg:cargo/time@0.3.36"])),
            Content::Vulnerable => shelf.attach(&image, &bill(&["pkg:cargo/serde@1.0.0", "pkg:cargo/time@0.1.44"])),
            Content::Unlisted | Content::Missing => {}
        }
        (Arc::new(scanner) as Arc<dyn ImageScanner>, image)
    })
    .await;
}

#[tokio::test]
async fn forbidden_content_is_named_with_path_and_layer() {
    let shelf = Arc::new(Shelf::default());
    let (_folder, scanner) = scanner(&shelf);
    let first = tar(&[("./app/.env", 0o644, b"PASSWORD=x"), ("etc/tls.pem", 0o600, b"-----BEGIN PRIVATE KEY-----")]);
    // The later layer removes the key from view, not from the image.
    let second = tar(&[("etc/.wh.tls.pem", 0o644, b""), ("bin/su", 0o4755, b"su")]);
    let image = shelf.image("", &[(GZIP, gzip(&first)), (PLAIN, second)]);
    shelf.attach(&image, &bill(&["pkg:cargo/serde@1.0.0"]));
    let found = findings(&scanner, &image).await;
    let short: Vec<_> = found.iter().map(|(id, subject)| (id.as_str(), subject.split(" (").next().unwrap())).collect();
    let expected = [
        ("forbidden-file", "/etc/tls.pem in layer 1"),
        ("forbidden-file", "/app/.env in layer 1"),
        ("root-user", "config.User"),
        ("setuid-file", "/bin/su in layer 2"),
    ];
    assert_eq!(short, expected);
}

#[tokio::test]
async fn files_of_every_kind_and_repositories_without_a_folder_are_judged() {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, kind) in [
        ("app/.git/HEAD", tar::EntryType::Regular),
        ("app/.git/config", tar::EntryType::Regular),
        ("app/.env", tar::EntryType::Link),
        ("root/id_rsa", tar::EntryType::Continuous),
        ("bin/su", tar::EntryType::Link),
        ("etc/tls.key", tar::EntryType::Continuous),
        ("etc/id_dsa", tar::EntryType::Symlink),
    ] {
        let content: &[u8] = if path == "etc/tls.key" { b"-----BEGIN PRIVATE KEY-----" } else { b"" };
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if path == "bin/su" { 0o4755 } else { 0o644 });
        header.set_entry_type(kind);
        if matches!(kind, tar::EntryType::Link | tar::EntryType::Symlink) {
            header.set_link_name("elsewhere").unwrap();
        }
        layer.append_data(&mut header, path, content).unwrap();
    }
    let shelf = Arc::new(Shelf::default());
    let (_folder, scanner) = scanner(&shelf);
    let image = shelf.image("1000", &[(PLAIN, layer.into_inner().unwrap())]);
    shelf.attach(&image, &bill(&["pkg:cargo/serde@1.0.0"]));
    let found = findings(&scanner, &image).await;
    let short: Vec<_> = found.iter().map(|(id, subject)| (id.as_str(), subject.split(" (").next().unwrap())).collect();
    let expected = [
        ("forbidden-file", "/etc/tls.key in layer 1"),
        ("forbidden-file", "/root/id_rsa in layer 1"),
        ("forbidden-file", "/app/.env in layer 1"),
        ("forbidden-file", "/app/.git in layer 1"),
        ("setuid-file", "/bin/su in layer 1"),
    ];
    assert_eq!(short, expected);
}

#[tokio::test]
async fn what_cannot_be_judged_is_not_clean() {
    let shelf = Arc::new(Shelf::default());
    let (_folder, scanner) = scanner(&shelf);
    for (bill, expected) in
        [("{", "is not CycloneDX"), ("{}", "has no `components`"), (r#"{"components":[]}"#, "lists no package")]
    {
        let image = shelf.image("1000", &[(PLAIN, tar(&[(&format!("a{}", bill.len()), 0o644, b"")]))]);
        shelf.attach(&image, bill);
        let outcome = scanner.scan(&cx(), &image).await.unwrap().outcome;
        assert!(matches!(&outcome, ScanOutcome::NotScanned { reason } if reason.contains(expected)), "{outcome:?}");
    }
    let zstd = shelf.image("1000", &[("application/vnd.oci.image.layer.v1.tar+zstd", b"z".to_vec())]);
    let outcome = scanner.scan(&cx(), &zstd).await.unwrap().outcome;
    assert!(matches!(&outcome, ScanOutcome::Unsupported { reason } if reason.contains("zstd")), "{outcome:?}");
    let image = shelf.image("1000", &[(PLAIN, tar(&[("b", 0o644, b"")]))]);
    shelf.attach(&image, r#"{"components":[{"name":"mystery","version":"1.0.0"}]}"#);
    assert_eq!(findings(&scanner, &image).await, [("unidentified-package".to_owned(), "mystery 1.0.0".to_owned())]);
}

#[tokio::test]
async fn a_broken_layer_is_an_error() {
    let shelf = Arc::new(Shelf::default());
    let (_folder, scanner) = scanner(&shelf);
    let whole = gzip(&tar(&[("app", 0o755, &vec![7; 20_000])]));
    for broken in [whole[..whole.len() / 2].to_vec(), b"not gzip at all".to_vec()] {
        let image = shelf.image("1000", &[(GZIP, broken)]);
        shelf.attach(&image, &bill(&["pkg:cargo/serde@1.0.0"]));
        let error = scanner.scan(&cx(), &image).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(error.report().contains("layer 1"), "{error:?}");
    }
}

#[tokio::test]
async fn the_database_fails_closed_and_its_version_follows_the_files() {
    let shelf = Arc::new(Shelf::default());
    let (folder, scanner) = scanner(&shelf);
    let before = scanner.database(&cx()).await.unwrap();
    assert_eq!(scanner.database(&cx()).await.unwrap(), before);
    fs::write(folder.path().join("other.json"), ADVISORY.replace("0071", "0072")).unwrap();
    assert_ne!(scanner.database(&cx()).await.unwrap(), before);
    fs::write(folder.path().join("other.json"), "{\"id\": 3}").unwrap();
    let report = scanner.database(&cx()).await.unwrap_err().report();
    assert!(report.contains("other.json") && report.contains("line 1"), "{report}");
    let empty = tempfile::tempdir().unwrap();
    let scanner = ContentScanner::new(shelf as _, ScanPolicy::new(empty.path()));
    assert_eq!(scanner.database(&cx()).await.unwrap_err().kind(), ErrorKind::NotFound);
}
