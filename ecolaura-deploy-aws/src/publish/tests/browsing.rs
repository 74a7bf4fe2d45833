//! Browsers that load the page at any moment, and what it names at any later one, over 100 publishes and ways back.

use std::{collections::BTreeMap, sync::Mutex};

use super::*;

/// How many switches a browser holds a page for; releases are kept for longer.
const HELD: usize = 3;

/// What browsers saw.
#[derive(Debug, Default)]
struct Seen {
    /// The pages that somebody holds, and the last switch at which one was loaded.
    held: BTreeMap<String, usize>,
    switch: usize,
    pages: usize,
    /// What was missing, or had another type than its name promises.
    gaps: Vec<String>,
}

impl Seen {
    /// Loads the page, and all that the pages that are held name.
    fn look(&mut self, s3: &FakeS3) {
        match s3.object("site/index.html") {
            Some(page) => {
                self.pages += 1;
                self.expect(&page, "index.html");
                self.held.insert(String::from_utf8(page.content).unwrap(), self.switch);
            }
            None => self.gaps.push("index.html: 404".to_owned()),
        }
        let switch = self.switch;
        self.held.retain(|_, since| *since + HELD >= switch);
        let named: Vec<String> = self.held.keys().flat_map(|page| page.split(' ')).map(str::to_owned).collect();
        for key in named {
            match s3.object(&format!("site/{key}")) {
                Some(asset) => self.expect(&asset, &key),
                None => self.gaps.push(format!("{key}: 404")),
            }
        }
    }

    fn expect(&mut self, object: &super::super::fake::Object, key: &str) {
        let (found, wanted) = (object.headers.get("content-type"), ecolaura_deploy_core::cdn::content_type(key));
        if found.is_none_or(|found| found != wanted) {
            self.gaps.push(format!("{key}: {found:?}"));
        }
    }
}

/// What a deployer does before it publishes as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Right,
    /// Deletes what the new release does not name, as tools that mirror a folder do.
    DeleteFirst,
    /// Shows the page before what it names is there.
    PageFirst,
}

async fn publish_in(order: Order, s3: &FakeS3, site: &PreparedSite) {
    match order {
        Order::Right => {}
        Order::DeleteFirst => {
            let served = s3.keys().into_iter().filter(|key| {
                let key = key.strip_prefix("site/");
                key.is_some_and(|key| !site.manifest().0.contains_key(key))
            });
            let served: Vec<String> = served.collect();
            cdn(s3).bucket.delete((&cx(), "test.delete"), "site/", &served).await.unwrap();
        }
        Order::PageFirst => {
            let page = fs::read_to_string(&site.files()["index.html"]).unwrap();
            s3.plant("site/index.html", &page);
        }
    }
    publish(&cx(), &cdn(s3), site, &PublishOptions::default()).await.unwrap();
}

/// 75 publishes and 25 ways back, looked at after each request.
async fn browse(order: Order) -> Seen {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 0).await;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (browsers, bucket) = (Arc::clone(&seen), s3.clone());
    s3.watch(move |_| browsers.lock().unwrap().look(&bucket));
    for number in 1..=75 {
        publish_in(order, &s3, &site(dir.path(), number).await).await;
        seen.lock().unwrap().switch += 1;
        if number % 3 == 0 {
            let back = switch_back(&cx(), &cdn(&s3), None).await;
            assert!(back.is_ok() || order != Order::Right, "{back:?}");
            seen.lock().unwrap().switch += 1;
        }
    }
    s3.watch(|_| {});
    std::mem::take(&mut *seen.lock().unwrap())
}

#[tokio::test]
async fn no_browser_misses_anything_over_100_publishes_and_ways_back() {
    let seen = browse(Order::Right).await;
    assert_eq!((seen.switch, seen.gaps.as_slice()), (100, [].as_slice()));
    assert!(seen.pages > 1000, "{}", seen.pages);
}

#[tokio::test]
async fn browsers_do_miss_something_when_old_assets_go_first() {
    let seen = browse(Order::DeleteFirst).await;
    assert!(seen.gaps.iter().any(|gap| gap.ends_with("404")), "{:?}", seen.gaps);
}

#[tokio::test]
async fn browsers_do_miss_something_when_the_page_goes_first() {
    let seen = browse(Order::PageFirst).await;
    assert!(seen.gaps.iter().any(|gap| gap.ends_with(".js: 404")), "{:?}", seen.gaps.first());
    assert!(seen.gaps.iter().any(|gap| gap.starts_with("index.html: None")), "and see it as something else");
}
