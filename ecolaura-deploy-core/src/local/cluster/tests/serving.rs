//! The proxy in front of real pods.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use super::{
    bench::{Bench, address, service},
    load::{Load, connect, get, send},
};
use crate::backend::Track;

#[tokio::test]
async fn requests_are_shared_among_pods_and_bodies_pass() {
    let bench = Bench::new();
    let applied = bench.roll(service("serve v1")).await;
    let mut sender = connect(&address(&applied)).await.unwrap();
    let mut pids = std::collections::BTreeSet::new();
    for _ in 0..4 {
        pids.insert(send(&mut sender, "GET", "/pid", "").await.unwrap().1.parse::<u32>().unwrap());
    }
    assert_eq!(pids.into_iter().collect::<Vec<_>>(), bench.pids(Track::Stable).await);
    let body = "x".repeat(1_000_000);
    assert_eq!(send(&mut sender, "POST", "/echo", &body).await.unwrap(), (StatusCode::OK, body));
}

#[tokio::test]
async fn without_a_ready_pod_the_reason_is_told() {
    let bench = Bench::new();
    let applied = bench.apply(service("silent")).await;
    bench.until("a pod runs", |pods| pods.iter().any(|pod| pod.phase == "Running")).await;
    let (status, text) = get(&address(&applied), "/").await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.starts_with("backend: no pod is ready"), "{text}");
}

#[tokio::test]
async fn an_answer_under_way_is_finished_before_its_pod_ends() {
    let bench = Bench::new();
    let applied = bench.roll(service("serve v1")).await;
    let place = address(&applied);
    let slow = tokio::spawn(async move { get(&place, "/slow?2000").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.roll(service("serve v2")).await;
    assert_eq!(slow.await.unwrap().unwrap(), (StatusCode::OK, "half v1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_dies_is_passed_over_and_comes_back() {
    let bench = Bench::new();
    let applied = bench.roll(service("serve v1")).await;
    let place = address(&applied);
    let victim = bench.pids(Track::Stable).await[0];
    let repeatable = async {
        let mut answers = Vec::new();
        for _ in 0..200 {
            answers.push(get(&place, "/").await.map(|(status, _)| status));
        }
        answers
    };
    let kill = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let pid = rustix::process::Pid::from_raw(victim.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let (answers, ()) = tokio::join!(repeatable, kill);
    assert!(answers.iter().all(|answer| *answer == Ok(StatusCode::OK)), "{answers:?}");
    bench.until("it was restarted", |pods| pods.len() == 2 && pods.iter().all(|pod| pod.ready)).await;
    assert_eq!(bench.status().await.pods.iter().map(|pod| pod.restarts).sum::<u32>(), 1);
}

#[tokio::test]
async fn a_connection_can_change_its_protocol() {
    let bench = Bench::new();
    let applied = bench.roll(service("serve v1")).await;
    let mut stream = BufReader::new(TcpStream::connect(address(&applied)).await.unwrap());
    let request = "GET /talk HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    for word in ["one\n", "two\n"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        assert_eq!(line, word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_answered_by_the_stable_version_only() {
    let bench = Bench::new();
    let applied = bench.roll(service("serve v1")).await;
    let load = Load::start(&address(&applied));
    load.more(20).await;
    let tally = load.end().await;
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["v1"], "{tally:?}");
}
