use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    time::{Duration, SystemTime},
};

use ecolaura_deploy_core::{
    backend::ImageBuilder as _,
    clock::{Clock as _, SystemClock},
    run::RunResult,
    vocabulary::Platform,
};
use tar::EntryType;

use super::bench::{Bench, config, cx, document, files, manifest};

#[tokio::test]
async fn files_come_with_their_modes_and_without_their_times() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY . /\n") else { return };
    bench.put("app/run", "#!/bin/sh\n");
    fs::set_permissions(bench.context().join("app/run"), Permissions::from_mode(0o4750)).unwrap();
    bench.put("app/large", &"x".repeat(3_000_000));
    bench.put("app/empty", "");
    symlink("run", bench.context().join("app/link")).unwrap();
    fs::create_dir(bench.context().join("folder")).unwrap();
    fs::set_permissions(bench.context().join("folder"), Permissions::from_mode(0o700)).unwrap();
    let image = bench.build(&bench.builder()).await.unwrap();
    let found = files(&image);
    let mode = |path: &str| (found[path].kind, found[path].mode & 0o7777);
    assert_eq!(mode("app/run"), (EntryType::Regular, 0o4750));
    assert_eq!(mode("app/link").0, EntryType::Symlink);
    assert_eq!(mode("folder"), (EntryType::Directory, 0o700));
    assert_eq!(found["app/large"].content.len(), 3_000_000);
    assert!(found["app/empty"].content.is_empty());
    assert_eq!(found["app/run"].content, b"#!/bin/sh\n");
    for path in ["app/run", "app/large", "app/link", "folder", "Dockerfile"] {
        assert_eq!(found[path].modified, 0, "{path}");
    }
    assert!(bench.builder().exists(&cx(), &image).await.unwrap());
}

#[tokio::test]
async fn a_changed_file_of_the_same_size_and_time_is_noticed() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY a /a\n") else { return };
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let mut digests = Vec::new();
    for content in ["one", "two", "one"] {
        let file = fs::File::options().write(true).open(bench.put("a", content)).unwrap();
        file.set_modified(time).unwrap();
        let image = bench.build(&bench.builder()).await.unwrap();
        assert_eq!(files(&image)["a"].content, content.as_bytes());
        digests.push(image.digest);
    }
    assert_eq!(digests[0], digests[2], "the same inputs, from the engine's cache");
    assert_ne!(digests[0], digests[1]);
}

#[tokio::test]
async fn arguments_labels_and_a_target_reach_the_image() {
    let file = "FROM scratch AS first\nARG WHO\nLABEL who=$WHO\nCOPY a /\nFROM first AS second\nCOPY b /\n";
    let Some(bench) = Bench::new(file) else { return };
    bench.put("a", "a");
    bench.put("b", "b");
    let spec = bench.spec().label("org.example.title", "ä & b=c");
    let builder = bench.builder().arg("WHO", "x y+z&w").target("first");
    let image = builder.build(&cx(), &spec).await.unwrap();
    let labels = &config(&image)["config"]["Labels"];
    assert_eq!((&labels["who"], &labels["org.example.title"]), (&"x y+z&w".into(), &"ä & b=c".into()));
    assert_eq!(files(&image).into_keys().collect::<Vec<_>>(), ["a"]);
    let prints: Vec<_> = [builder.clone(), builder.clone().target("second"), builder.arg("WHO", "y")].into();
    let mut digests = Vec::new();
    for builder in prints {
        digests.push(builder.fingerprint(&cx(), &spec).await.unwrap().digest());
    }
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 3, "each is an input");
}

#[tokio::test]
async fn several_platforms_become_one_index() {
    let Some(bench) = Bench::new("FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY a /\n") else { return };
    bench.put("a", "a");
    let platforms = ["amd64", "arm64"].map(|architecture| Platform::new("linux", architecture));
    let builder = bench.builder().platforms(platforms);
    let image = bench.build(&builder).await.unwrap();
    let children = manifest(&image)["manifests"].as_array().unwrap().clone();
    let mut sum = fs::metadata(image.layout.join("blobs/sha256").join(image.digest.to_hex())).unwrap().len();
    for (child, architecture) in children.iter().zip(["amd64", "arm64"]) {
        assert_eq!(child["platform"], serde_json::json!({"os": "linux", "architecture": architecture}));
        let manifest = document(&image, child["digest"].as_str().unwrap());
        let config = document(&image, manifest["config"]["digest"].as_str().unwrap());
        assert_eq!(
            (&config["architecture"], &config["config"]["Labels"]["arch"]),
            (&architecture.into(), &architecture.into())
        );
        sum += child["size"].as_u64().unwrap() + manifest["config"]["size"].as_u64().unwrap();
        sum += manifest["layers"].as_array().unwrap().iter().map(|layer| layer["size"].as_u64().unwrap()).sum::<u64>();
    }
    assert_eq!((children.len(), image.size), (2, sum));
    assert!(builder.exists(&cx(), &image).await.unwrap());
}

#[tokio::test]
async fn what_was_built_stays_in_the_layout_and_not_in_the_engine() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY a /\n") else { return };
    bench.put("a", &format!("of this run alone: {:?}", SystemClock.now()));
    let image = bench.build(&bench.builder()).await.unwrap();
    let id = manifest(&image)["config"]["digest"].as_str().unwrap().to_owned();
    let listed = Command::new("docker")
        .args(["images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}"])
        .env("DOCKER_HOST", format!("unix://{}", bench.socket().display()))
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(!listed.contains(&id), "{listed}");
}

#[tokio::test]
async fn a_run_tells_each_step_and_what_it_prints() {
    let Some(bench) = Bench::with_shell("RUN busybox echo good morning && busybox echo oh no >&2\n") else { return };
    let (finished, said) = bench.run(bench.builder()).await;
    assert_eq!(finished.result, RunResult::Succeeded, "{said}");
    for words in ["[4/4] RUN busybox echo good morning", "\"good morning\"", "\"oh no\"", "unit: \"steps\""] {
        assert!(said.contains(words), "`{words}` is missing in {said}");
    }
}

#[tokio::test]
async fn steps_can_be_taken_over_by_others() {
    let Some(bench) = Bench::new("FROM scratch\nCOPY a /\n") else { return };
    bench.put("a", "a");
    let builder = bench.builder().cache_inline().cache_from("127.0.0.1:1/not/there:v1");
    let image = bench.build(&builder).await.unwrap();
    assert!(config(&image)["moby.buildkit.cache.v0"].is_string(), "{}", config(&image));
}
