use std::time::Duration;

use ecolaura_deploy_core::{ErrorKind, backend::ImageBuilder as _};
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, cx};

/// Whether a process runs whose command line holds `text`.
fn runs(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(text))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 30 s: {what}");
}

#[tokio::test]
async fn a_cancelled_build_stops_its_steps() {
    let mark = format!("{}", 1_000_000 + std::process::id());
    let Some(bench) = Bench::with_shell(&format!("RUN busybox sleep {mark}\n")) else { return };
    let sleep = format!("busybox sleep {mark}");
    let token = CancellationToken::new();
    let (context, builder, spec) = (cx().with_cancellation(token.clone()), bench.builder(), bench.spec());
    let cancel = async {
        until("the step begins", || runs(&sleep)).await;
        token.cancel();
    };
    let (built, ()) = tokio::join!(builder.build(&context, &spec), cancel);
    assert_eq!(built.unwrap_err().kind(), ErrorKind::Cancelled);
    until("the step ends", || !runs(&sleep)).await;
    assert!(!bench.layout().join("index.json").exists());
}

#[tokio::test]
async fn a_build_beyond_its_deadline_stops_its_steps() {
    let mark = format!("{}", 2_000_000 + std::process::id());
    let Some(bench) = Bench::with_shell(&format!("RUN busybox sleep {mark}\n")) else { return };
    let hurry = cx().with_deadline_in(Duration::from_secs(3));
    let error = bench.builder().build(&hurry, &bench.spec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    until("the step ends", || !runs(&format!("busybox sleep {mark}"))).await;
}
