//! Bills of materials, and what a scanner makes of them.

use std::{fs, sync::Arc};

use ecolaura_deploy_core::{
    backend::{ImageBuilder as _, ImageScanner as _, Registry as _, ScanOutcome},
    local::scan::{ContentScanner, ScanPolicy},
    oci::OciRegistry,
    testing::servers::{named, unique},
    vocabulary::{BuiltImage, Platform},
};
use serde_json::Value;

use super::bench::{Bench, cx, document, manifest};

const CARGO: &str = "version = 4\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n";
const NPM: &str = r#"{"lockfileVersion": 3, "packages": {"node_modules/left-pad": {"version": "1.3.0"}}}"#;
const STATUS: &str = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n\nPackage: old\n\
     Status: deinstall ok config-files\nVersion: 1\n";

/// The document that is attached to `image`, if one is.
fn bill(image: &BuiltImage) -> Option<Value> {
    let index: Value = serde_json::from_slice(&fs::read(image.layout.join("index.json")).unwrap()).unwrap();
    let subject = |entry: &Value| {
        let attached = document(image, entry["digest"].as_str().unwrap());
        (attached["subject"]["digest"] == image.digest.to_string()).then_some(attached)
    };
    let attached = index["manifests"].as_array().unwrap().iter().find_map(subject)?;
    assert_eq!(attached["artifactType"], "application/vnd.cyclonedx+json");
    Some(document(image, attached["layers"][0]["digest"].as_str().unwrap()))
}

fn refs(bill: &Value) -> Vec<&str> {
    bill["components"].as_array().unwrap().iter().map(|one| one["bom-ref"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_bill_lists_what_is_in_the_image_and_what_it_was_made_from() {
    let file = "FROM scratch\nCOPY first /\nCOPY second /\n";
    let Some(bench) = Bench::new(file) else { return };
    bench.put("first/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    bench.put("first/var/lib/dpkg/status", "Package: before\nVersion: 1\n");
    bench.put("second/var/lib/dpkg/status", STATUS);
    bench.put("second/lib/apk/db/installed", "P:musl\nV:1.2.5-r0\nA:x86_64\n\n");
    bench.put("second/app/package-lock.json", NPM);
    bench.put("second/app/node_modules/a/package-lock.json", "{");
    bench.put("Cargo.lock", CARGO);
    let image = bench.build(&bench.builder()).await.unwrap();
    let expected = [
        "pkg:apk/debian/musl@1.2.5-r0?arch=x86_64&distro=debian-12",
        "pkg:cargo/serde@1.0.0",
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12",
        "pkg:npm/left-pad@1.3.0",
    ];
    let found = bill(&image).unwrap();
    assert_eq!(refs(&found), expected);
    assert!(bench.builder().exists(&cx(), &image).await.unwrap());
    let again = bench.build(&bench.builder()).await.unwrap();
    assert_eq!(again, image, "the same inputs");

    bench.put("Cargo.lock", &CARGO.replace("1.0.0", "1.0.1"));
    let other = bench.build(&bench.builder()).await.unwrap();
    assert_ne!(other.digest, image.digest, "no image is judged by two bills");
    let index = image.layout.join("index.json");
    let mut without: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    without["manifests"].as_array_mut().unwrap().retain(|entry| entry["digest"] == other.digest.to_string());
    fs::write(&index, without.to_string()).unwrap();
    assert!(!bench.builder().exists(&cx(), &other).await.unwrap(), "its bill is lost");
}

#[tokio::test]
async fn what_a_later_layer_removes_is_in_no_bill() {
    let copies =
        "COPY npm.json /app/package-lock.json\nCOPY cargo.toml /etc/gone/Cargo.lock\nCOPY status /var/lib/dpkg/\n";
    for (step, expected) in [
        ("", Some(vec!["pkg:cargo/serde@1.0.0", "pkg:deb/debian/libc6@2.36-9?arch=amd64", "pkg:npm/left-pad@1.3.0"])),
        (
            "RUN busybox rm -r /app /etc/gone && busybox mkdir /etc/gone\n",
            Some(vec!["pkg:deb/debian/libc6@2.36-9?arch=amd64"]),
        ),
        ("RUN busybox rm -r /app /etc/gone /var/lib/dpkg/status\n", None),
    ] {
        let Some(bench) = Bench::with_shell(&format!("{copies}{step}")) else { return };
        bench.put("npm.json", NPM);
        bench.put("cargo.toml", CARGO);
        bench.put("status", STATUS);
        let image = bench.build(&bench.builder()).await.unwrap();
        assert_eq!(bill(&image).as_ref().map(refs), expected, "{step}");
    }
}

#[tokio::test]
async fn an_image_without_any_package_has_no_bill() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY a /\n") else { return };
    bench.put("a", "a");
    let image = bench.build(&bench.builder()).await.unwrap();
    assert!(bill(&image).is_none() && manifest(&image)["annotations"].is_null());
}

#[tokio::test]
async fn an_index_of_several_platforms_has_one_bill() {
    let Some(bench) = Bench::new("FROM scratch\nARG TARGETARCH\nLABEL a=$TARGETARCH\nCOPY a /\n") else { return };
    bench.put("a", "a");
    bench.put("Cargo.lock", CARGO);
    let builder = bench.builder().platforms(["amd64", "arm64"].map(|one| Platform::new("linux", one)));
    let image = bench.build(&builder).await.unwrap();
    assert_eq!(refs(&bill(&image).unwrap()), ["pkg:cargo/serde@1.0.0"]);
    assert!(manifest(&image)["layers"].is_null() && manifest(&image)["manifests"].is_array());
    assert!(builder.exists(&cx(), &image).await.unwrap());
}

#[tokio::test]
async fn a_scanner_judges_what_was_built_and_does_not_pass_what_cannot_be_read() {
    for (lock, expected) in [(CARGO, None), ("version = 9\n", Some("unidentified-package"))] {
        let file = "FROM scratch\nCOPY a /\nUSER 65532:65532\n";
        let (Some(bench), Some(address)) = (Bench::new(file), named("ECOLAURA_TEST_REGISTRY")) else { return };
        bench.put("a", "a");
        bench.put("service/Cargo.lock", lock);
        let image = bench.build(&bench.builder()).await.unwrap();
        let registry = Arc::new(OciRegistry::new("registry".parse().unwrap(), &address).unwrap());
        let pinned = registry.push(&cx(), &image, &unique("bill").parse().unwrap()).await.unwrap();
        let advisories = tempfile::tempdir().unwrap();
        let advisory = serde_json::json!({"id": "A-1", "modified": "2026-01-01T00:00:00Z", "affected": [
            {"package": {"ecosystem": "crates.io", "name": "another"}, "versions": ["1.0.0"]}]});
        fs::write(advisories.path().join("a.json"), advisory.to_string()).unwrap();
        let scanner = ContentScanner::new(registry, ScanPolicy::new(advisories.path()));
        let outcome = scanner.scan(&cx(), &pinned).await.unwrap().outcome;
        match expected {
            None => assert!(matches!(outcome, ScanOutcome::Clean), "{outcome:?}"),
            Some(id) => {
                let ScanOutcome::Findings { findings } = outcome else { panic!("{outcome:?}") };
                assert_eq!(findings.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [id]);
                assert!(findings[0].subject.contains("service/Cargo.lock"), "{findings:?}");
            }
        }
    }
}
