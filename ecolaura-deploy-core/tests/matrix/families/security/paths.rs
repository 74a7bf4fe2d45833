//! Links, `..`, devices, hidden files.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

use ecolaura_deploy_core::{
    backend::{ApplyRequest, ClusterTarget as _, Placement, Workload},
    cdn::SiteSource,
    steps::KeptFolders,
    store::{ObjectRunStore, RunStore as _},
    testing::fake::cluster_target::FakeCluster,
};

use super::{Sprung, Yard, block, cx, refused, trap};
use crate::families::Cell;

pub(super) fn all() -> Vec<Cell> {
    let mut plans = sites();
    plans.push(trap("paths/kept-folder/link", || {
        let yard = Yard::new();
        yard.link("link", "../outside/secret");
        refused(block(KeptFolders::digest(yard.inside())), &["link", "symbolic link"])
    }));
    plans.push(trap("paths/kept-folder/pipe", || {
        let yard = Yard::new();
        yard.pipe("pipe");
        refused(block(KeptFolders::digest(yard.inside())), &["pipe", "neither a file nor a folder"])
    }));
    plans.push(trap("paths/manifests/pipe", || {
        let yard = Yard::new();
        yard.pipe("pipe.yaml");
        manifests(&yard.inside().join("pipe.yaml"))
    }));
    plans.push(trap("paths/manifests/device", || manifests(Path::new("/dev/zero"))));
    plans.push(trap("paths/run-store/key-climbs", store_keys));
    plans.extend(embedded());
    plans
}

fn manifests(path: &Path) -> Sprung {
    let cluster = FakeCluster::new("fake".parse().unwrap());
    let request = ApplyRequest::new(Workload::new("dev".parse().unwrap(), [path]), Placement::Replace);
    refused(block(cluster.plan(&cx(), &request)), &[&path.display().to_string(), "neither a file nor a folder"])
}

fn store_keys() -> Sprung {
    let yard = Yard::new();
    let store = ObjectRunStore::local(yard.inside()).unwrap();
    for key in ["../outside/secret", "/etc/passwd", "a/../../outside/secret", "a\0b"] {
        let shown = key.escape_debug().to_string();
        refused(block(store.get(key)), &[&shown])?;
        refused(block(store.create(key, "ours".into())), &[&shown])?;
        refused(block(store.list(key)), &[&shown])?;
        refused(block(store.names(key)), &[&shown])?;
        refused(block(store.remove(key)), &[&shown])?;
    }
    yard.untouched()
}

/// A site with something in it that must not be published.
fn site(name: &str, prepare: fn(&Yard), names: &'static [&'static str]) -> Cell {
    trap(format!("paths/site/{name}"), move || {
        let yard = Yard::new();
        prepare(&yard);
        refused(block(SiteSource::new(yard.inside()).manifest(&cx())), names)?;
        yard.untouched()
    })
}

fn sites() -> Vec<Cell> {
    vec![
        site("link-to-a-file-outside", |yard| yard.link("a.txt", "../outside/secret"), &["a.txt", "leaves the folder"]),
        site("link-to-a-folder-outside", |yard| yard.link("a", "../outside"), &["`a`", "leaves the folder"]),
        site(
            "absolute-link",
            |yard| yard.link("a.txt", &yard.path("outside/secret").display().to_string()),
            &["a.txt", "leaves the folder"],
        ),
        site(
            "link-to-a-hidden-file",
            |yard| {
                yard.put("sub/.env", "TOKEN=x");
                yard.link("a.txt", "sub/.env");
            },
            &["a.txt", "hidden file"],
        ),
        site("hidden-file", |yard| yard.put(".env", "TOKEN=x"), &[".env", "hidden files are not published"]),
        site("hidden-folder", |yard| yard.put(".git/config", "x"), &[".git", "hidden files are not published"]),
        site("pipe", |yard| yard.pipe("pipe"), &["`pipe`", "neither a file nor a folder"]),
        site("link-to-a-device", |yard| yard.link("zero", "/dev/zero"), &["`zero`", "leaves the folder"]),
        site("control-character", |yard| yard.put("a\nb", "x"), &["a\\nb", "control character"]),
        site(
            "not-utf8",
            |yard| fs::write(yard.inside().join(OsStr::from_bytes(b"a\xff")), "x").unwrap(),
            &["is not UTF-8"],
        ),
        trap("paths/site/key-climbs", || {
            let yard = Yard::new();
            for key in ["../outside/secret", "/etc/passwd", "a/../../outside/secret", "a\\..\\b", "a\0"] {
                let site = SiteSource::new(yard.inside()).file(key, "ours");
                refused(block(site.manifest(&cx())), &[&key.escape_debug().to_string()])?;
            }
            yard.untouched()
        }),
    ]
}

#[cfg(not(feature = "local"))]
fn embedded() -> Vec<Cell> {
    let names = [
        "image/pipe",
        "image/destination-climbs",
        "image/hides-a-layer",
        "image/link-outside",
        "secrets/name-climbs",
        "secrets/pipe",
    ];
    let mut plans =
        super::left_out("S", "local", &names.map(|name| format!("paths/{name}")).each_ref().map(String::as_str));
    plans.extend(database());
    plans
}

#[cfg(feature = "local")]
fn embedded() -> Vec<Cell> {
    use ecolaura_deploy_core::{backend::SecretStore as _, local::secrets::FileSecrets};
    let mut plans = vec![
        trap("paths/image/pipe", || {
            let yard = Yard::new();
            yard.pipe("pipe");
            refused(image(&yard, "/app"), &["pipe", "neither a file, a folder nor a link"])
        }),
        trap("paths/image/destination-climbs", || {
            let yard = Yard::new();
            for destination in ["/../outside", "/a/../../outside", "../outside", "outside"] {
                refused(image(&yard, destination), &[destination])?;
            }
            Ok(())
        }),
        trap("paths/image/hides-a-layer", || {
            let yard = Yard::new();
            yard.put(".wh.passwd", "");
            refused(image(&yard, "/etc"), &[".wh.passwd", "would remove a file of a layer below"])
        }),
        trap("paths/image/link-outside", || {
            let yard = Yard::new();
            yard.put("index.html", "ours");
            yard.link("secret", "../outside/secret");
            let built = image(&yard, "/app").map_err(|error| error.report())?;
            let shown = files_with(&built.layout, THEIRS_BYTES);
            if shown.is_empty() { Ok(()) } else { Err(format!("the file outside went into {shown:?}")) }
        }),
        trap("paths/secrets/name-climbs", || {
            let yard = Yard::new();
            let store = FileSecrets::new("files".parse().unwrap(), yard.inside());
            for name in ["../outside/secret", "/etc/passwd", ".hidden", "..", ""] {
                refused(block(store.resolve(&cx(), name)), &[&format!("`{name}`")])?;
            }
            yard.untouched()
        }),
        trap("paths/secrets/pipe", || {
            let yard = Yard::new();
            yard.pipe("pipe");
            let store = FileSecrets::new("files".parse().unwrap(), yard.inside());
            refused(block(store.resolve(&cx(), "pipe")), &["pipe", "is not a file"])
        }),
    ];
    plans.extend(database());
    plans
}

#[cfg(feature = "local")]
const THEIRS_BYTES: &[u8] = super::THEIRS.as_bytes();

/// Builds an image of what is inside.
#[cfg(feature = "local")]
fn image(yard: &Yard, destination: &str) -> ecolaura_deploy_core::Result<ecolaura_deploy_core::vocabulary::BuiltImage> {
    use ecolaura_deploy_core::{
        backend::{ImageBuilder as _, ImageEntry, ImageSpec},
        local::image::LayoutBuilder,
        vocabulary::Platform,
    };
    let builder = LayoutBuilder::new(yard.path("images"), "builder".parse().unwrap());
    let spec = ImageSpec::new(Platform::current()).layer([ImageEntry::new(yard.inside(), destination)]);
    block(builder.build(&cx(), &spec))
}

/// The blobs of a layout that hold `bytes`, unpacked where they are packed.
#[cfg(feature = "local")]
fn files_with(layout: &Path, bytes: &[u8]) -> Vec<std::path::PathBuf> {
    use std::io::Read as _;
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &std::path::PathBuf| {
        let raw = fs::read(path).unwrap();
        let mut plain = Vec::new();
        let unpacked = flate2::read::MultiGzDecoder::new(raw.as_slice()).read_to_end(&mut plain);
        let content = if unpacked.is_ok() { plain } else { raw };
        content.windows(bytes.len()).any(|window| window == bytes)
    };
    blobs.filter(holds).collect()
}

#[cfg(not(feature = "sqlite"))]
fn database() -> Vec<Cell> {
    super::left_out("S", "sqlite", &["paths/migrations/link-outside", "paths/migrations/folder"])
}

#[cfg(feature = "sqlite")]
fn database() -> Vec<Cell> {
    use ecolaura_deploy_core::{backend::Migrator as _, sqlite::SqliteMigrator};
    fn plan(yard: &Yard, names: &[&str]) -> Sprung {
        let migrator = SqliteMigrator::new(yard.path("inside/app.sqlite"), yard.inside(), "db".parse().unwrap());
        let planned = block(migrator.plan(&cx()));
        if format!("{planned:?}").contains(super::THEIRS) {
            return Err("the file outside is shown".to_owned());
        }
        refused(planned, names)?;
        yard.untouched()
    }
    vec![
        trap("paths/migrations/link-outside", || {
            let yard = Yard::new();
            yard.link("1_a.sql", "../outside/secret");
            plan(&yard, &["1_a.sql", "leaves the folder"])
        }),
        trap("paths/migrations/folder", || {
            let yard = Yard::new();
            fs::create_dir(yard.inside().join("1_a.sql")).unwrap();
            plan(&yard, &["1_a.sql", "not a file"])
        }),
    ]
}
