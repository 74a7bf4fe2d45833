//! Browsers on a real server: they load the page at any moment, and what it names some switches later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_sdk_s3::Client;
use ecolaura_deploy_core::cdn::{PublishOptions, publish, switch_back};
use tokio::task::JoinHandle;

use super::support::{account, cdn, client, cx, real_endpoints, site};

/// How many switches of the site there were, and since which one each browser holds its page.
#[derive(Default)]
struct Turns {
    turn: AtomicU32,
    over: AtomicBool,
    held: [AtomicU32; 4],
}

impl Turns {
    /// Until nobody holds a page of three switches ago: releases are kept for five. Whoever ended has failed.
    async fn wait(&self, browsers: &[JoinHandle<u32>]) {
        let turn = self.turn.load(Ordering::SeqCst);
        let late = |since: &AtomicU32| since.load(Ordering::SeqCst) + 3 <= turn;
        while self.held.iter().any(late) && !browsers.iter().any(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn load(client: &Client, bucket: &str, key: &str) -> (String, String) {
    let found = client.get_object().bucket(bucket).key(format!("site/{key}")).send().await;
    assert!(found.is_ok(), "{key}: {found:?}");
    let found = found.unwrap();
    let kind = found.content_type().unwrap_or_default().to_owned();
    let content = found.body.collect().await.unwrap().into_bytes();
    (String::from_utf8(content.to_vec()).unwrap(), kind)
}

/// Answers how many pages it has seen whole.
async fn browse(client: Client, bucket: String, number: usize, turns: Arc<Turns>) -> u32 {
    let (mut pages, hold) = (0, u32::try_from(number % 3).unwrap());
    while !turns.over.load(Ordering::SeqCst) {
        let since = turns.turn.load(Ordering::SeqCst);
        turns.held[number].store(since, Ordering::SeqCst);
        let (page, kind) = load(&client, &bucket, "index.html").await;
        assert_eq!(kind, "text/html; charset=utf-8");
        while turns.turn.load(Ordering::SeqCst) < since + hold && !turns.over.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The script's name has a space in it.
        let (script, logo) = page.rsplit_once(' ').unwrap();
        for (asset, kind) in [(script, "text/javascript; charset=utf-8"), (logo, "image/svg+xml")] {
            assert_eq!(load(&client, &bucket, asset).await.1, kind, "{asset}, of a page of switch {since}");
        }
        pages += 1;
    }
    pages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_browser_misses_anything_over_100_publishes_and_ways_back() {
    for endpoint in real_endpoints() {
        let (cdn, dir) = (cdn(&endpoint).await, tempfile::tempdir().unwrap());
        let (client, options) = (client(&account(&endpoint).await), PublishOptions::default());
        publish(&cx(), &cdn, &site(dir.path(), 0).await, &options).await.unwrap();
        let turns = Arc::new(Turns::default());
        let browsers: Vec<_> = (0..4)
            .map(|number| tokio::spawn(browse(client.clone(), cdn.bucket().to_owned(), number, Arc::clone(&turns))))
            .collect();
        for number in 1..=75 {
            turns.wait(&browsers).await;
            publish(&cx(), &cdn, &site(dir.path(), number).await, &options).await.unwrap();
            turns.turn.fetch_add(1, Ordering::SeqCst);
            if number % 3 == 0 {
                turns.wait(&browsers).await;
                switch_back(&cx(), &cdn, None).await.unwrap();
                turns.turn.fetch_add(1, Ordering::SeqCst);
            }
        }
        turns.over.store(true, Ordering::SeqCst);
        assert_eq!(turns.turn.load(Ordering::SeqCst), 100);
        for browser in browsers {
            assert!(browser.await.unwrap() > 10);
        }
    }
}
