//! The publisher for S3 beside s5cmd and rclone: the same files to the same server, by turns, each as a program of its own.
//!
//! ```sh
//! .ci/with-servers --no-node --peers cargo bench -p ecolaura-deploy-benches --features aws --bench publish
//! ```
//!
//! After `--`: names of cases (`small`, `large`; both unless some are named), `--rounds N` (3), `--files N` (3000) and
//! `--bytes N` of each (26333) for `small`, `--large-files N` (20) and `--mib N` of each (256) for `large`, which takes
//! twice as much of the disk; `--away MS`, so many milliseconds between a request and its answer besides the server's own (0).

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what was measured, or left out, is said")]

mod away;
mod files;
mod sides;

use std::{path::Path, process::ExitCode, time::Duration};

use ecolaura_deploy_benches::{
    options,
    table::{self, Row, Work, by_turns},
};

use self::sides::{Server, Side};

const SMALL: &str = "small";
const LARGE: &str = "large";
const PUBLISHES: [Work; 2] = [("fresh", "memory, fresh", 0.5), ("unchanged", "memory, unchanged", 0.3)];
/// How long files have to be at rest before ours remembers them.
const REST: Duration = Duration::from_millis(2500);
/// In MiB.
const MOST: f64 = 64.0;

/// The files of a case.
#[derive(Debug, Clone, Copy)]
struct Files {
    count: usize,
    bytes: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // This program again, so that it begins like the others.
    if let [first, endpoint, bucket, folder, memory] = &arguments[..]
        && first == sides::PUBLISHER
    {
        runtime.block_on(sides::publish_here(endpoint, bucket, Path::new(folder), Path::new(memory)));
        return ExitCode::SUCCESS;
    }
    let usual =
        [("--rounds", 3), ("--files", 3000), ("--bytes", 26_333), ("--large-files", 20), ("--mib", 256), ("--away", 0)];
    let found = options(&arguments, &[SMALL, LARGE], usual).and_then(|options| Ok((options, Server::find()?)));
    match found {
        Ok(((cases, [rounds, count, bytes, large, mib, away]), server)) => {
            let away = Duration::from_millis(away as u64);
            let server = if away.is_zero() { server } else { runtime.block_on(server.far(away)) };
            let files = |case| match case {
                SMALL => Files { count, bytes },
                _ => Files { count: large, bytes: mib * 1024 * 1024 },
            };
            let mut rows = Vec::new();
            for case in cases {
                rows.extend(runtime.block_on(measure(&server, rounds, files(case))));
            }
            table::print(&rows);
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(server: &Server, rounds: usize, Files { count, bytes }: Files) -> Vec<Row> {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("site");
    files::make(&folder, count, bytes);
    let (sides, missing): (Vec<Side>, Vec<Side>) = Side::ALL.into_iter().partition(|side| side.is_there());
    for side in missing {
        println!("peer missing: {}, its rows are left out; .ci/with-servers --peers has it", side.name());
    }
    let title = format!("{count} files of {}{}", size(bytes), server.place());
    println!("{title} …");
    // What was written just now is not remembered.
    tokio::time::sleep(REST).await;
    let names: Vec<&'static str> = sides.iter().map(|side| side.name()).collect();
    let records = by_turns(rounds, &names, async |name| {
        let side = Side::of(name);
        let bucket = server.bucket().await;
        let mut values = Vec::new();
        for (what, memory, _) in PUBLISHES {
            let took = side.run(server, &bucket, &folder).await;
            values.extend([(what, took.seconds), (memory, took.peak)]);
        }
        server.empty(&bucket).await;
        values
    })
    .await;
    records.beside(&title, &names, &PUBLISHES, MOST)
}

fn size(bytes: usize) -> String {
    const MIB: usize = 1024 * 1024;
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{bytes} bytes") }
}
