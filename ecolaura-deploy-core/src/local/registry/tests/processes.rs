//! Several real processes on one registry: this test's program, run again.

use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "ECOLAURA_TEST_REGISTRY_DIR";
const NUMBER: &str = "ECOLAURA_TEST_REGISTRY_NUMBER";
const PROCESSES: usize = 4;
const ROUNDS: usize = 5;

/// Does nothing unless it was started by the test below.
#[tokio::test]
async fn worker() {
    let (Ok(dir), Ok(number)) = (std::env::var(DIR), std::env::var(NUMBER)) else { return };
    let dir = Path::new(&dir);
    let own = dir.join(format!("worker-{number}"));
    fs::create_dir_all(&own).unwrap();
    let registry = registry(dir).immutable_tags();
    for round in 0..ROUNDS {
        // Every process pushes the shared image of the round, and one of its own.
        for (content, tag) in [
            (format!("shared {round}"), format!("shared-{round}")),
            (format!("{number} {round}"), format!("own-{number}-{round}")),
        ] {
            let image = build(&own, &content).await;
            let pinned = registry.push(&cx(), &image, &repository()).await.unwrap();
            let change = TagChange::new(repository(), tag.parse().unwrap(), Some(pinned.digest));
            registry.set_tag(&cx(), &change).await.unwrap();
        }
        let image = build(&own, &format!("{number} {round}")).await;
        let change = TagChange::new(repository(), format!("contended-{round}").parse().unwrap(), Some(image.digest));
        match registry.set_tag(&cx(), &change).await {
            Ok(_) => println!("won {round}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}"),
        }
    }
}

#[tokio::test]
async fn processes_lose_nothing_and_one_wins_a_tag() {
    let dir = tempfile::tempdir().unwrap();
    let start = |number: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["local::registry::tests::processes::worker", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .env(NUMBER, number.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..PROCESSES).map(start).collect();
    let mut won = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        won.extend(text.lines().filter_map(|line| line.split("won ").nth(1)?.trim().parse::<usize>().ok()));
    }
    won.sort_unstable();
    assert_eq!(won, (0..ROUNDS).collect::<Vec<_>>(), "one process wins each contended tag");
    let registry = registry(dir.path());
    for round in 0..ROUNDS {
        let own = (0..PROCESSES).map(|number| format!("own-{number}-{round}"));
        for tag in own.chain([format!("shared-{round}"), format!("contended-{round}")]) {
            let pinned = registry.resolve(&cx(), &repository(), &tag.parse().unwrap()).await.unwrap().expect(&tag);
            assert!(registry.contains(&cx(), &pinned).await.unwrap(), "{tag}");
            assert_eq!(registry.referrers(&cx(), &pinned).await.unwrap().len(), 1, "{tag}");
        }
    }
    let incoming = registry.layout(&repository()).dir().join("incoming");
    assert_eq!(fs::read_dir(incoming).unwrap().count(), 0, "nothing half written stays");
}
