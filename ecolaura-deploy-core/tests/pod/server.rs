//! The program of the test images: a small HTTP/1.1 server without dependencies, compiled by the tests themselves.
//!
//! `serve VERSION` answers on `$POD_IP:$PORT`; `crash` ends with status 1; `silent` runs and never answers. It does not
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
        other => panic!("unknown mode {other:?}"),
    }
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
