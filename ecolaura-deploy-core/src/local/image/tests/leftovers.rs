//! What a killed build leaves.

use super::*;
use crate::leftovers::tests::{Worker, clean_all, dir_of_worker, holds, kinds, later};

/// Does nothing unless it was started by the test below.
#[tokio::test]
async fn worker() {
    let Some(dir) = dir_of_worker() else { return };
    let layer = spec().layer([ImageEntry::new(dir.join("large"), "/large")]);
    builder(&dir).build(&cx(), &layer).await.unwrap();
}

#[tokio::test]
async fn what_a_killed_build_wrote_is_left_over_and_what_a_running_one_writes_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let small = put(dir.path(), "small", "small");
    let kept = builder(dir.path()).build(&cx(), &spec().layer([ImageEntry::new(small, "/small")])).await.unwrap();
    // Something that does not shrink, so that compressing takes its time.
    let mut state = 1_u64;
    let noise = (0..8_000_000).flat_map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    });
    put(dir.path(), "large", noise.collect::<Vec<u8>>());
    let mut worker = Worker::start("local::image::tests::leftovers::worker", dir.path());
    worker.until(|| holds(&dir.path().join("images/incoming"), |_| true));
    assert_eq!(kinds(&builder(dir.path()), &later(2)).await, [""; 0], "a build is under way");
    worker.kill();
    assert!(kinds(&builder(dir.path()), &later(2)).await.contains(&"staged blob".to_owned()));
    clean_all(&builder(dir.path()), &later(2)).await;
    assert!(builder(dir.path()).exists(&cx(), &kept).await.unwrap());
}
