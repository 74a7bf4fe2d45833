//! Assembling an image beside `tar | zstd -3` of the same files in one process.
//!
//! `cargo bench -p ecolaura-deploy-benches --bench image`. Both read the files, and write to a disk; the builder also
//! digests every file for the fingerprint, every block for the layer, and syncs what it wrote.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so")]

use std::{fmt::Write as _, fs, fs::File, path::Path};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ecolaura_deploy_core::{
    Context,
    backend::{ImageBuilder as _, ImageEntry, ImageSpec},
    local::image::LayoutBuilder,
    vocabulary::Platform,
};

const FILES: u64 = 64;
const FILE: usize = 1024 * 1024;

/// Text of random words, which compresses about as well as code does.
fn files(dir: &Path) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for number in 0..FILES {
        let mut text = String::with_capacity(FILE + 16);
        while text.len() < FILE {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let _ = write!(text, "{:x} ", state % 50_021);
        }
        fs::write(dir.join(format!("{number:03}.txt")), text).unwrap();
    }
}

fn tar_zstd(source: &Path, target: &Path) {
    let mut encoder = zstd::Encoder::new(File::create(target).unwrap(), 3).unwrap();
    encoder.multithread(2).unwrap();
    let mut tar = tar::Builder::new(encoder);
    tar.append_dir_all("data", source).unwrap();
    tar.into_inner().unwrap().finish().unwrap().sync_all().unwrap();
}

fn image(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    files(&source);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let cx = Context::new("dev".parse().unwrap());
    let spec =
        ImageSpec::new(Platform::current()).layer([ImageEntry::new(&source, "/data")]).entrypoint(["/data/000.txt"]);

    let mut group = c.benchmark_group("image of 64 MiB");
    group.sample_size(10).throughput(Throughput::Bytes(FILES * FILE as u64));
    let mut number = 0;
    group.bench_function("assembled", |b| {
        b.iter(|| {
            // A layout of its own each time: what is there already is not assembled again.
            number += 1;
            let builder = LayoutBuilder::new(dir.path().join(format!("layout-{number}")), "bench".parse().unwrap());
            runtime.block_on(builder.build(&cx, &spec)).unwrap()
        });
    });
    group.bench_function("tar | zstd -3, two threads", |b| {
        b.iter(|| tar_zstd(&source, &dir.path().join("peer.tar.zst")));
    });
    group.finish();
}

criterion_group!(benches, image);
criterion_main!(benches);
