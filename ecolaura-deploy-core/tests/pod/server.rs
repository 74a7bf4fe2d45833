//! The program of the test images: a small HTTP/1.1 server without dependencies, compiled by the tests themselves.
//!
//! `serve VERSION` answers on `$POD_IP:$PORT`; `crash` ends with status 1; `silent` runs and never answers; `eat` takes more
//! and more memory, up to 1 GiB; `count N STATUS` prints N lines, fifty a second, and ends with that status; `migrate` is
//! the tool of an ORM, with the words of `sqlx migrate` and a ledger in `/data/ledger`; `deploy ENVIRONMENT RESULT` tells of
//! a run as a program that embeds the library does, and is lost in the first of it if the result is `lost`. It does not
//! handle SIGTERM: a request that it has when the signal comes is lost, which is what the tests look for.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

static SICK: AtomicBool = AtomicBool::new(false);

fn main() {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("serve") => serve(&arguments.next().expect("a version")),
        Some("crash") => {
            eprintln!("cannot go on: no database");
            process::exit(1);
        }
        Some("silent") => {
            println!("waiting for nothing");
            loop {
                thread::sleep(Duration::from_secs(3600));
            }
        }
        Some("eat") => eat(),
        Some("count") => {
            let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number");
            let (lines, status) = (number(), number());
            for line in 1..=lines {
                println!("line {line} of {lines}");
                thread::sleep(Duration::from_millis(20));
            }
            process::exit(status)
        }
        Some("migrate") => migrate(&arguments.collect::<Vec<_>>()),
        Some("deploy") => {
            let mut word = || arguments.next().expect("a word");
            deploy(&word(), &word());
        }
        other => panic!("unknown mode {other:?}"),
    }
}

/// Marks in `/data` when it begins and ends, and what else runs then.
fn deploy(environment: &str, result: &str) {
    let event = |number: u32, kind: &str| {
        println!(
            r#"{{"schema":1,"run":"{environment}-1","environment":"{environment}","pipeline":"p","seq":{number},"at":"2026-11-26T09:00:00Z","elapsed":{{"secs":0,"nanos":0}},{kind}}}"#
        );
    };
    let running = format!("/data/running-{environment}");
    std::fs::write(&running, "").unwrap();
    let others = std::fs::read_dir("/data").unwrap().flatten();
    let at_once = others.filter(|file| file.file_name().to_string_lossy().starts_with("running-")).count();
    println!("{at_once} at once");
    thread::sleep(Duration::from_secs(2));
    std::fs::remove_file(running).unwrap();
    let lost = format!("/data/lost-{environment}");
    if result == "lost" && !std::path::Path::new(&lost).exists() {
        event(0, r#""type":"run_started""#);
        std::fs::write(lost, "").unwrap();
        process::abort();
    }
    let took = r#""took":{"secs":0,"nanos":0}"#;
    event(0, if result == "lost" { r#""type":"run_resumed","since":"2026-11-26T09:00:00Z","kept":1"# } else { r#""type":"run_started""# });
    if result == "undone" {
        event(1, &format!(r#""type":"run_finished","result":{{"result":"rolled_back","failed":"roll out","cause":"no image"}},{took}"#));
        process::exit(1);
    }
    event(1, &format!(r#""type":"run_finished","result":{{"result":"succeeded"}},{took}"#));
}

const MIGRATIONS: [(u32, &str); 3] = [(1, "plants"), (2, "height of plants"), (3, "pots")];
const LEDGER: &str = "/data/ledger";

/// The ledger has a line for each applied migration; `MIGRATION_MS` is what each takes.
fn migrate(arguments: &[String]) {
    let target = match arguments.iter().position(|argument| argument == "--target-version") {
        Some(index) => arguments[index + 1].parse().expect("a version"),
        None => u32::MAX,
    };
    let time = env::var("MIGRATION_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let read = || std::fs::read_to_string(LEDGER).unwrap_or_default();
    let write = |lines: &str| {
        thread::sleep(Duration::from_millis(time));
        std::fs::write(LEDGER, lines).unwrap();
    };
    let line = |version: u32| read().lines().find(|line| line.split(' ').next() == Some(&version.to_string())).map(str::to_owned);
    match arguments.first().map(String::as_str) {
        Some("info") => {
            for (version, name) in MIGRATIONS {
                let standing = match line(version) {
                    None => "pending",
                    Some(line) if line.ends_with("edited") => "installed (different checksum)",
                    Some(_) => "installed",
                };
                println!("{version}/{standing} {name}");
            }
        }
        Some("run") => {
            for (version, name) in MIGRATIONS.into_iter().filter(|(version, _)| *version <= target) {
                if line(version).is_none() {
                    write(&format!("{}{version} {name}\n", read()));
                    println!("Applied {version}/migrate {name}");
                }
            }
        }
        Some("revert") => {
            while let Some(last) = read().lines().last().map(str::to_owned) {
                if last.split(' ').next().and_then(|text| text.parse().ok()).is_none_or(|version: u32| version <= target) {
                    break;
                }
                let rest: String = read().lines().filter(|line| *line != last).map(|line| format!("{line}\n")).collect();
                write(&rest);
                println!("Reverted {last}");
            }
        }
        other => panic!("unknown word {other:?}"),
    }
}

fn eat() -> ! {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while eaten.len() < 1024 {
        eaten.push(vec![1; 1 << 20]);
        thread::sleep(Duration::from_millis(1));
    }
    println!("full after {} MiB", eaten.len());
    process::exit(4)
}

fn serve(version: &str) -> ! {
    let address = format!("{}:{}", env::var("POD_IP").unwrap(), env::var("PORT").unwrap());
    if let Ok(milliseconds) = env::var("START_AFTER_MS") {
        thread::sleep(Duration::from_millis(milliseconds.parse().unwrap()));
    }
    let listener = TcpListener::bind(&address).unwrap_or_else(|error| {
        eprintln!("cannot listen on {address}: {error}");
        process::exit(2);
    });
    println!("{version} listens on {address}");
    loop {
        if let Ok((stream, _)) = listener.accept() {
            let version = version.to_owned();
            thread::spawn(move || answer(stream, &version));
        }
    }
}

fn answer(mut stream: TcpStream, version: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let (mut length, mut chunked, mut upgrade) = (0, false, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        upgrade |= line.starts_with("upgrade:");
    }
    let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    match path {
        "/healthz" if SICK.load(Ordering::Relaxed) => say(&mut stream, "500 Internal Server Error", "sick"),
        "/sick" => {
            SICK.store(true, Ordering::Relaxed);
            say(&mut stream, "200 OK", "sick now");
        }
        "/exit" => process::exit(3),
        "/pid" => say(&mut stream, "200 OK", &process::id().to_string()),
        "/env" => say(&mut stream, "200 OK", &env::var(query).unwrap_or_else(|_| "-".to_owned())),
        "/all-env" => {
            let names: Vec<String> = env::vars().map(|(name, _)| name).collect();
            say(&mut stream, "200 OK", &names.join(","));
        }
        "/slow" => slow(&mut stream, version, query.parse().unwrap_or(100)),
        "/echo" if chunked => say(&mut stream, "501 Not Implemented", "no chunks here"),
        "/echo" => {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            say(&mut stream, "200 OK", &String::from_utf8_lossy(&body));
        }
        "/talk" if upgrade => talk(&mut stream, reader),
        _ => say(&mut stream, "200 OK", version),
    }
}

fn say(stream: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let _ = stream.write_all(text.as_bytes());
}

/// Half of the answer at once, the other half later.
fn slow(stream: &mut TcpStream, version: &str, milliseconds: u64) {
    let _ =
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nhalf \r\n");
    thread::sleep(Duration::from_millis(milliseconds));
    let _ = stream.write_all(format!("{:x}\r\n{version}\r\n0\r\n\r\n", version.len()).as_bytes());
}

/// Another protocol: lines come back.
fn talk(stream: &mut TcpStream, mut reader: BufReader<TcpStream>) {
    let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n");
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap_or(0) > 0 {
        let _ = stream.write_all(line.as_bytes());
        line.clear();
    }
}
