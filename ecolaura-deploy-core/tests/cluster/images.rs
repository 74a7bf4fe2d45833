//! Programs from real images.

use std::{path::PathBuf, process::Command};

use ecolaura_deploy_core::{backend::ImageEntry, local::cluster::ProcessCluster};

use crate::bench::{Bench, backend, cx, get, name, pids, roll, runtime, server};

/// What `ldd` says a program loads, at the same places of an image.
fn libraries() -> Vec<ImageEntry> {
    let output = Command::new("ldd").arg(server()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(|path| ImageEntry::new(PathBuf::from(path).canonicalize().unwrap(), path).mode(0o755)).collect()
}

pub(crate) fn own_loader() {
    let bench = Bench::new();
    let cluster = bench.cluster();
    runtime().block_on(async {
        let image = bench.images.with("serve own", libraries()).await.unwrap();
        let applied = roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        assert_eq!(get(&applied.addresses[&backend()]).unwrap(), "own");
        for pid in pids(&cluster).await {
            let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
            let loaded =
                maps.lines().filter_map(|line| line.split_whitespace().nth(5)).filter(|path| path.contains(".so"));
            let outside: Vec<&str> = loaded.filter(|path| !path.contains("/cluster/images/")).collect();
            assert!(outside.is_empty(), "loaded from outside the image: {outside:?}");
        }
    });
}

/// What was unpacked is kept while a kept revision needs it, and comes again from the registry.
pub(crate) fn gone_and_back() {
    let bench = Bench::new();
    runtime().block_on(async {
        let image = bench.images.image("serve v1").await.unwrap();
        let dir = bench.dir.path().join("alone");
        let open = || ProcessCluster::in_process(&dir, bench.images.registry.clone(), name("local")).unwrap();
        let cluster = open();
        roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        cluster.stop(&cx()).await.unwrap();
        drop(cluster);
        std::fs::remove_dir_all(dir.join("images")).unwrap();
        let cluster = open();
        let applied = roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        assert_eq!(get(&applied.addresses[&backend()]).unwrap(), "v1");
    });
}
