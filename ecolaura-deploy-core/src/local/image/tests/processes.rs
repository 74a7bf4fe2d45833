//! Several real processes on one layout: this test's program, run again.

use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "ECOLAURA_TEST_BUILDER_DIR";
const NUMBER: &str = "ECOLAURA_TEST_BUILDER_NUMBER";

/// Does nothing unless it was started by the test below.
#[tokio::test]
async fn worker() {
    let (Ok(dir), Ok(number)) = (std::env::var(DIR), std::env::var(NUMBER)) else { return };
    let dir = Path::new(&dir);
    for round in 0..5 {
        let own = put(dir, &format!("own-{number}-{round}"), format!("{number} {round}"));
        let shared = put(dir, &format!("shared-{number}"), "shared");
        let spec = spec().layer([ImageEntry::new(shared, "/a")]).layer([ImageEntry::new(own, "/b")]);
        let image = builder(dir).build(&cx(), &spec).await.unwrap();
        assert!(builder(dir).exists(&cx(), &image).await.unwrap());
        println!("built {}", image.digest);
    }
}

#[tokio::test]
async fn processes_lose_nothing_of_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let start = |number: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["local::image::tests::processes::worker", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .env(NUMBER, number.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    let mut built = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        built.extend(
            text.lines()
                .filter_map(|line| line.split("built ").nth(1)?.trim().parse::<crate::vocabulary::Digest>().ok()),
        );
    }
    assert_eq!(built.len(), 20);
    for digest in built {
        let image = BuiltImage::new(dir.path().join("images"), digest, Platform::new("linux", "amd64"), 0);
        assert!(builder(dir.path()).exists(&cx(), &image).await.unwrap(), "{digest}");
    }
}
