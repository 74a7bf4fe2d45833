//! What a publish works out about a site of 100,000 files: which differ, and which paths caches must forget.
//!
//! `cargo bench -p ecolaura-deploy-benches --bench site`.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ecolaura_deploy_core::{
    backend::{SiteManifest, SiteObject},
    cdn::{diff, invalidation_paths},
    vocabulary::{CacheControl, Digest},
};

const FILES: u64 = 100_000;

/// Nine hashed assets to each page; every hundredth file differs between releases.
fn site(release: &str) -> SiteManifest {
    let file = |n: u64| {
        let content = if n.is_multiple_of(100) { format!("{n} {release}") } else { n.to_string() };
        let digest = Digest::of(content);
        if n.is_multiple_of(10) {
            (
                format!("pages/{:03}/{n}.html", n % 997),
                SiteObject::new(digest, n, "text/html", CacheControl::Revalidate),
            )
        } else {
            let key = format!("assets/{n}.{}.js", digest.short());
            (key, SiteObject::new(digest, n, "text/javascript", CacheControl::Immutable))
        }
    };
    SiteManifest((0..FILES).map(file).collect())
}

fn site_diff(c: &mut Criterion) {
    let (old, new) = (site("1"), site("2"));
    let changes = diff(Some(&old), &new);
    assert_eq!(changes.changed().count() as u64, FILES / 100);
    let mut group = c.benchmark_group("site");
    group.throughput(Throughput::Elements(FILES)).sample_size(20).measurement_time(Duration::from_secs(3));
    group.bench_function("diff of 100000 files", |b| b.iter(|| diff(Some(black_box(&old)), black_box(&new))));
    group.bench_function("id of 100000 files", |b| b.iter(|| black_box(&new).id()));
    group.bench_function("invalidation of 1000 pages", |b| b.iter(|| invalidation_paths(black_box(&changes), 3_000)));
    group.finish();
}

criterion_group!(benches, site_diff);
criterion_main!(benches);
