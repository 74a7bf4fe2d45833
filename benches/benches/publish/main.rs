//! The publisher for S3 beside s5cmd and rclone: the same files to the same server, by turns, each as a new process.
//!
//! ```sh
//! .ci/with-servers --no-node cargo bench -p ecolaura-deploy-benches --features aws --bench publish
//! ```
//!
//! After `--`: `--rounds N` (3), `--files N` (3000), `--bytes N` of each file (26333). Peers are taken from the `PATH`:
//! s5cmd is in the Python package of its name, rclone in Debian's.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what was measured, or left out, is said")]

mod sides;
#[path = "../peers/table.rs"]
mod table;

use std::{fmt::Write as _, fs, path::Path, process::ExitCode};

use ecolaura_deploy_core::vocabulary::Digest;

use self::{
    sides::{Server, Side},
    table::{Goal, OURS, Unit, by_turns},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // This program again, so that it begins like the others.
    if let [first, endpoint, bucket, folder] = &arguments[..]
        && first == sides::PUBLISHER
    {
        runtime.block_on(sides::publish_here(endpoint, bucket, Path::new(folder)));
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, usual: usize| {
        let given = arguments.iter().skip_while(|argument| *argument != name).nth(1);
        given.and_then(|given| given.parse().ok()).unwrap_or(usual)
    };
    let Some(server) = Server::find() else {
        eprintln!("no server: ECOLAURA_TEST_S3 is not set; run this by `.ci/with-servers --no-node`");
        return ExitCode::FAILURE;
    };
    let (files, bytes) = (number("--files", 3000), number("--bytes", 26_333));
    runtime.block_on(measure(&server, number("--rounds", 3), (files, bytes)));
    ExitCode::SUCCESS
}

/// Text as scripts are, with a hash in its name; every fiftieth is a page.
fn site(folder: &Path, files: usize, bytes: usize) {
    for number in 0..files {
        let mut text = String::with_capacity(bytes + 64);
        let mut seed = Digest::of(number.to_le_bytes());
        while text.len() < bytes {
            _ = writeln!(text, "{seed}");
            seed = Digest::of(seed.as_bytes());
        }
        text.truncate(bytes);
        let name = match number % 50 {
            0 => format!("page-{number}.html"),
            _ => format!("assets/{}/chunk.{}.js", number % 16, &Digest::of(&text).to_hex()[..8]),
        };
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

async fn measure(server: &Server, rounds: usize, (files, bytes): (usize, usize)) {
    let folder = tempfile::tempdir().unwrap();
    site(folder.path(), files, bytes);
    let sides: Vec<&'static str> = Side::all().into_iter().filter(|side| side.is_there()).map(Side::name).collect();
    println!("sides: {}; {files} files of {bytes} bytes", sides.join(", "));
    let records = by_turns(rounds, &sides, async |name| {
        let side = Side::of(name);
        let bucket = server.bucket().await;
        let fresh = side.run(server, &bucket, folder.path()).await;
        let unchanged = side.run(server, &bucket, folder.path()).await;
        vec![("fresh", fresh.seconds), ("unchanged", unchanged.seconds), ("memory", fresh.peak)]
    })
    .await;
    let mut rows = Vec::new();
    for peer in sides.iter().filter(|side| **side != OURS) {
        let row = |title: &str, unit, what, goal| records.row(title.to_owned(), unit, what, (peer, what), goal);
        rows.push(row("publish, fresh", Unit::Seconds, "fresh", Goal::Ratio(0.5)));
        rows.push(row("publish, unchanged", Unit::Seconds, "unchanged", Goal::Ratio(0.3)));
        rows.push(row("peak memory, fresh", Unit::MiB, "memory", Goal::None));
    }
    table::print(&rows);
}
