//! What a durable record costs beside a plain file, and opening a store with ten thousand past runs.
//!
//! `cargo bench -p ecolaura-deploy-benches --bench store`. Prints percentiles, not means: a record is waited for, and
//! what is felt is the slow one. `plain file` is what any program does that wants a durable file: write it beside its
//! place, flush it, rename it, flush the folder.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::Arc,
    time::Duration,
};

use ecolaura_deploy_core::{
    Context,
    pipeline::{Pipeline, constant},
    run::Runner,
    steps::RecordRelease,
    store::{Created, ObjectRunStore, RunStore, StoredReleases, state},
    vocabulary::{Digest, EnvironmentName, Release, ReleaseSequence},
};
use tokio::time::Instant;

const APPENDS: usize = 2_000;
const RUNS: u64 = 10_000;
const RECORDS: u64 = 60;
const OPENINGS: usize = 100;

fn dev() -> EnvironmentName {
    "dev".parse().unwrap()
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!("{what:<40} p50 {:>8.3} ms   p99 {:>8.3} ms   of {}", at(50), at(99), times.len());
}

/// The stored form of records: a last member with the digest over what is before it.
fn seal(body: &str) -> String {
    let open = body.strip_suffix('}').unwrap();
    format!("{open},\"checksum\":\"{}\"}}\n", Digest::of(open))
}

fn record(number: usize) -> String {
    seal(&format!("{{\"schema\":1,\"number\":{number},\"text\":\"{}\"}}", "x".repeat(500)))
}

async fn records(store: &ObjectRunStore) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in 0..APPENDS {
        let began = Instant::now();
        let created =
            store.create(&format!("environments/dev/runs/r/{number:08}"), record(number).into()).await.unwrap();
        times.push(began.elapsed());
        assert_eq!(created, Created::Yes);
    }
    times
}

fn plain_files(dir: &Path) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in 0..APPENDS {
        let (part, place) = (dir.join(format!("{number}.part")), dir.join(number.to_string()));
        let began = Instant::now();
        let mut file = File::create_new(&part).unwrap();
        file.write_all(record(number).as_bytes()).unwrap();
        file.sync_all().unwrap();
        fs::rename(&part, &place).unwrap();
        File::open(dir).unwrap().sync_all().unwrap();
        times.push(began.elapsed());
    }
    times
}

/// Files of past runs, which nothing reads: links to those of a few.
fn past_runs(dir: &Path) {
    let runs = dir.join("environments/dev/runs");
    let mut model = runs.clone();
    for run in 0..RUNS {
        let folder = runs.join(format!("20260101T{run:06}Z"));
        fs::create_dir_all(&folder).unwrap();
        for number in 0..RECORDS {
            let file = folder.join(format!("{number:08}"));
            if run.is_multiple_of(1_000) {
                fs::write(&file, record(0)).unwrap();
            } else {
                fs::hard_link(model.join(format!("{number:08}")), &file).unwrap();
            }
        }
        if run.is_multiple_of(1_000) {
            model = folder;
        }
    }
}

fn past_releases(dir: &Path) {
    let releases = dir.join("environments/dev/releases");
    fs::create_dir_all(&releases).unwrap();
    for number in 1..=RUNS {
        let back = if number == 1 { "null".to_owned() } else { (number - 1).to_string() };
        let body = format!(
            "{{\"schema\":1,\"number\":{number},\"by\":\"r{number}/record\",\"epoch\":{number},\"release\":{{\"sequence\":\
             {number},\"source\":\"c\",\"images\":{{}},\"manifests\":null,\"site\":null,\"schema\":null}},\"back\":{back}}}"
        );
        fs::write(releases.join(format!("{number:08}")), seal(&body)).unwrap();
    }
}

/// A run on top of them: what stands in the store is what runs write.
async fn one_more(dir: &Path, sequence: u64) {
    let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::local(dir).unwrap());
    let mut pipeline = Pipeline::new("bench".parse().unwrap(), dev());
    pipeline.add(
        "record",
        RecordRelease::new(Arc::clone(&store)),
        constant(Release::new(ReleaseSequence(sequence), sequence.to_string())),
    );
    let (cx, runner) = (Context::new(dev()), Runner::new(store));
    let plan = runner.plan(&cx, pipeline).await.unwrap();
    assert!(runner.run(&cx, plan).await.unwrap().succeeded());
}

async fn open(dir: &Path) -> Duration {
    let began = Instant::now();
    let store = ObjectRunStore::local(dir).unwrap();
    let found = state(&store, &dev()).await.unwrap();
    let took = began.elapsed();
    assert_eq!((found.runs, found.live.unwrap().number), (RUNS + 2, RUNS + 2));
    took
}

async fn previous(dir: &Path) -> Duration {
    let store = ObjectRunStore::local(dir).unwrap();
    let began = Instant::now();
    let found = StoredReleases::new(&store, &dev()).previous().await.unwrap().unwrap();
    let took = began.elapsed();
    assert_eq!(found.sequence, ReleaseSequence(RUNS + 1));
    took
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    print("durable record", records(&ObjectRunStore::local(dir.path()).unwrap()).await);
    let dir = tempfile::tempdir().unwrap();
    print("plain file", plain_files(dir.path()));

    let dir = tempfile::tempdir().unwrap();
    past_releases(dir.path());
    one_more(dir.path(), RUNS + 1).await;
    // The next run counts the past ones, since no snapshot does.
    fs::remove_dir_all(dir.path().join("environments/dev/state")).unwrap();
    past_runs(dir.path());
    one_more(dir.path(), RUNS + 2).await;
    let (mut opening, mut going_back) = (Vec::new(), Vec::new());
    for _ in 0..OPENINGS {
        opening.push(open(dir.path()).await);
        going_back.push(previous(dir.path()).await);
    }
    print("opening 10,000 runs of 60 records", opening);
    print("the release before, of 10,002", going_back);
}
