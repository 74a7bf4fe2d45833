//! Asking a container, by the rules of Kubernetes' probes.

use std::{net::Ipv4Addr, process::Stdio, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, process::Command, time::timeout};

use super::process::Launch;
use crate::cluster::desired::{Check, Probe};

/// Counts answers in a row until they change the verdict.
#[derive(Debug)]
pub(super) struct Counter {
    failure_threshold: u32,
    success_threshold: u32,
    good: bool,
    in_a_row: u32,
}

impl Counter {
    pub(super) fn new(probe: &Probe, good: bool) -> Self {
        Self {
            failure_threshold: probe.failure_threshold.max(1),
            success_threshold: probe.success_threshold.max(1),
            good,
            in_a_row: 0,
        }
    }

    /// The verdict after one more answer.
    pub(super) fn count(&mut self, answer: bool) -> bool {
        self.in_a_row = if answer == self.good { 0 } else { self.in_a_row + 1 };
        let threshold = if answer { self.success_threshold } else { self.failure_threshold };
        if self.in_a_row >= threshold {
            self.good = answer;
            self.in_a_row = 0;
        }
        self.good
    }

    /// Whether failing answers have used up the threshold, for a verdict that began as no.
    pub(super) fn failures(&mut self, answer: bool) -> bool {
        self.in_a_row = if answer { 0 } else { self.in_a_row + 1 };
        self.in_a_row >= self.failure_threshold
    }
}

/// Asks once; the error says what came instead of a yes.
pub(super) async fn ask(check: &Check, ip: Ipv4Addr, launch: &Launch, limit: Duration) -> Result<(), String> {
    let asked = async {
        match check {
            Check::HttpGet { path, port, headers } => http_get(ip, *port, path, headers).await,
            Check::TcpSocket { port } => connect(ip, *port).await.map(drop),
            Check::Exec { command } => exec(command, launch).await,
        }
    };
    match timeout(limit, asked).await {
        Ok(answer) => answer.map_err(|why| format!("{}: {why}", describe(check, ip))),
        Err(_) => Err(format!("{}: no answer within {limit:?}", describe(check, ip))),
    }
}

fn describe(check: &Check, ip: Ipv4Addr) -> String {
    match check {
        Check::HttpGet { path, port, .. } => format!("GET http://{ip}:{port}{path}"),
        Check::TcpSocket { port } => format!("connection to {ip}:{port}"),
        Check::Exec { command } => format!("`{}`", command.join(" ")),
    }
}

async fn connect(ip: Ipv4Addr, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((ip, port)).await.map_err(|error| error.to_string())
}

async fn http_get(ip: Ipv4Addr, port: u16, path: &str, headers: &[(String, String)]) -> Result<(), String> {
    let stream = connect(ip, port).await?;
    let broken = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut request = Request::get(path).header("user-agent", "ecolaura-probe").header("connection", "close");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", format!("{ip}:{port}"));
    }
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let asked = async {
        let status = sender.send_request(request).await.map_err(broken)?.status();
        if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(status.to_string()) }
    };
    // The connection does the work; how it ends says less than the answer does.
    let driven = async {
        _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        answer = asked => answer,
        () = driven => Err("no answer".to_owned()),
    }
}

async fn exec(command: &[String], launch: &Launch) -> Result<(), String> {
    let launch = launch.another(command)?;
    let mut command = Command::new(&launch.program);
    command.args(&launch.args).env_clear().envs(launch.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(&launch.dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.kill_on_drop(true).status().await.map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(failure_threshold: u32, success_threshold: u32) -> Probe {
        Probe {
            check: Check::TcpSocket { port: 1 },
            initial_delay_seconds: 0,
            period_seconds: 1,
            timeout_seconds: 1,
            failure_threshold,
            success_threshold,
        }
    }

    #[test]
    fn answers_count_in_a_row() {
        for (start, answers, verdicts) in [
            (false, "+", "+"),
            (true, "--+--", "+++++"),
            (true, "---+", "---+".replacen("--", "++", 1).as_str()),
            (true, "-+---", "++++-"),
        ] {
            let mut counter = Counter::new(&probe(3, 1), start);
            let got: String =
                answers.chars().map(|answer| if counter.count(answer == '+') { '+' } else { '-' }).collect();
            assert_eq!(got, verdicts, "{answers}");
        }
        let mut slow = Counter::new(&probe(1, 3), false);
        assert_eq!(
            [true, true, false, true, true, true].map(|answer| slow.count(answer)),
            [false, false, false, false, false, true]
        );
    }

    #[test]
    fn a_liveness_failure_is_told_each_time_the_threshold_is_used_up() {
        let mut counter = Counter::new(&probe(2, 1), true);
        assert_eq!([false, true, false, false].map(|answer| counter.failures(answer)), [false, false, false, true]);
    }
}
