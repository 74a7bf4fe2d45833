//! What a step costs beside a raw tokio task, planning many steps, many steps in one run, and going on with a run.
//!
//! `cargo bench -p ecolaura-deploy-benches --bench executor`. The difference between `steps` and `tasks` of one shape
//! is the overhead: planning again, refining, two records, two events, supervision. Divide by the number of steps.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ecolaura_deploy_core::{
    Context,
    pipeline::{Handle, Pipeline, constant},
    run::Runner,
    steps,
    store::ObjectRunStore,
};
use tokio::{runtime::Runtime, time::Instant};

const STEPS: u64 = 1_000;

/// One thread shows what the executor itself costs; with more, waking the other thread costs more than the rest.
fn runtimes() -> [(&'static str, Runtime); 2] {
    let mut two = tokio::runtime::Builder::new_multi_thread();
    let mut one = tokio::runtime::Builder::new_current_thread();
    [
        ("one thread", one.enable_all().build().unwrap()),
        ("two threads", two.worker_threads(2).enable_all().build().unwrap()),
    ]
}

fn pipeline() -> Pipeline {
    Pipeline::new("bench".parse().unwrap(), "dev".parse().unwrap())
}

/// Makes a pipeline of so many steps.
type Shape = fn(u64) -> Pipeline;

/// Steps that need nothing.
fn wide(steps: u64) -> Pipeline {
    let mut p = pipeline();
    for n in 0..steps {
        p.add(format!("step {n}"), steps::call("step", |_cx, n: u64| async move { Ok(n) }), constant(n));
    }
    p
}

/// Steps of which each needs the one before.
fn chain(steps: u64) -> Pipeline {
    let mut p = pipeline();
    let mut last: Handle<u64> = p.add("step", steps::call("step", |_cx, n: u64| async move { Ok(n) }), constant(0));
    for n in 1..steps {
        last = p.add(format!("step {n}"), steps::call("step", |_cx, n: u64| async move { Ok(n + 1) }), last);
    }
    p
}

async fn run(shape: Shape, steps: u64, store: ObjectRunStore) -> Duration {
    let (cx, runner) = (Context::new("dev".parse().unwrap()), Runner::new(Arc::new(store)));
    let plan = runner.plan(&cx, shape(steps)).await.unwrap();
    let began = Instant::now();
    assert!(runner.run(&cx, plan).await.unwrap().succeeded());
    began.elapsed()
}

/// The same number of tasks, as many at once as the executor runs.
async fn tasks_wide() {
    let permits = Arc::new(tokio::sync::Semaphore::new(8));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..STEPS {
        let permits = Arc::clone(&permits);
        tasks.spawn(async move { permits.acquire().await.map(|_permit| n) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
}

async fn tasks_chain() {
    for n in 0..STEPS {
        tokio::spawn(async move { n }).await.unwrap();
    }
}

fn overhead(c: &mut Criterion) {
    let shapes: [(&str, Shape); 2] = [("wide", wide), ("chain", chain)];
    for (threads, runtime) in runtimes() {
        let mut group = c.benchmark_group(format!("executor, {threads}"));
        group.throughput(Throughput::Elements(STEPS)).sample_size(20).measurement_time(Duration::from_secs(2));
        for (name, shape) in shapes {
            group.bench_function(BenchmarkId::new("steps", name), |b| {
                b.to_async(&runtime).iter_custom(|times| async move {
                    let mut total = Duration::ZERO;
                    for _ in 0..times {
                        total += run(shape, STEPS, ObjectRunStore::memory()).await;
                    }
                    total
                });
            });
        }
        group.bench_function(BenchmarkId::new("tasks", "wide"), |b| b.to_async(&runtime).iter(tasks_wide));
        group.bench_function(BenchmarkId::new("tasks", "chain"), |b| b.to_async(&runtime).iter(tasks_chain));
        group.finish();
    }
}

fn planning(c: &mut Criterion) {
    let [(_, runtime), _] = runtimes();
    let mut group = c.benchmark_group("plan");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    group.bench_function("10000 steps", |b| {
        b.to_async(&runtime).iter_custom(|times| async move {
            let (cx, runner) = (Context::new("dev".parse().unwrap()), Runner::new(Arc::new(ObjectRunStore::memory())));
            let mut total = Duration::ZERO;
            for _ in 0..times {
                let pipeline = chain(10_000);
                let began = Instant::now();
                let plan = runner.plan(&cx, pipeline).await.unwrap();
                total += began.elapsed();
                drop(plan);
            }
            total
        });
    });
    group.finish();
}

/// One run of 10,000 steps: in memory, and with every record flushed to the disk.
fn throughput(c: &mut Criterion) {
    const MANY: u64 = 10_000;
    let [(_, runtime), _] = runtimes();
    let mut group = c.benchmark_group("run of 10000 steps");
    group.throughput(Throughput::Elements(MANY)).sample_size(10).measurement_time(Duration::from_secs(1));
    for local in [false, true] {
        group.bench_function(if local { "local files" } else { "memory" }, |b| {
            b.to_async(&runtime).iter_custom(|times| async move {
                let mut total = Duration::ZERO;
                for _ in 0..times {
                    let dir = tempfile::tempdir().unwrap();
                    let files = || ObjectRunStore::local(dir.path()).unwrap();
                    total += run(wide, MANY, if local { files() } else { ObjectRunStore::memory() }).await;
                }
                total
            });
        });
    }
    group.finish();
}

/// A chain of 1,000 steps, whose last one does not end the first time.
fn unfinished(calls: &Arc<AtomicUsize>) -> Pipeline {
    let mut p = pipeline();
    let mut last: Handle<u64> = p.add("step", steps::call("step", |_cx, n: u64| async move { Ok(n) }), constant(0));
    for n in 1..STEPS {
        last = p.add(format!("step {n}"), steps::call("step", |_cx, n: u64| async move { Ok(n + 1) }), last);
    }
    let calls = Arc::clone(calls);
    let wait = move |_cx, n: u64| {
        let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                std::future::pending::<()>().await;
            }
            Ok(n)
        }
    };
    p.add("last", steps::call("last", wait), last);
    p
}

/// From opening the store to the end of the one step that is left: reading 2,000 records and deciding for each step.
fn resuming(c: &mut Criterion) {
    let [(_, runtime), _] = runtimes();
    let mut group = c.benchmark_group("resume");
    group.sample_size(10).measurement_time(Duration::from_secs(1));
    group.bench_function("1000 steps, local files", |b| {
        b.to_async(&runtime).iter_custom(|times| async move {
            let mut total = Duration::ZERO;
            for _ in 0..times {
                let (dir, cx) = (tempfile::tempdir().unwrap(), Context::new("dev".parse().unwrap()));
                let runner = || Runner::new(Arc::new(ObjectRunStore::local(dir.path()).unwrap()));
                let calls = Arc::new(AtomicUsize::new(0));
                let plan = runner().plan(&cx, unfinished(&calls)).await.unwrap();
                let began = async {
                    while calls.load(Ordering::SeqCst) == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                let first = runner();
                tokio::select! {
                    () = began => {}
                    _ = first.run(&cx, plan) => unreachable!("its last step waits"),
                }
                let pipeline = unfinished(&calls);
                let began = Instant::now();
                assert!(runner().resume(&cx, pipeline).await.unwrap().unwrap().succeeded());
                total += began.elapsed();
            }
            total
        });
    });
    group.finish();
}

criterion_group!(benches, overhead, planning, throughput, resuming);
criterion_main!(benches);
