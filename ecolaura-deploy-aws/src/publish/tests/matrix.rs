//! Family F of core's fault matrix: what befalls a publish to S3 and `CloudFront`.
//!
//! The second release is served in the end without help, at once or by the repetition that a run makes; or an operator is
//! told the cause, and the publish after the cause is gone completes it. No browser ever misses anything, caches are told
//! of every changed page, the next release can be published, nothing is left that nobody finds, and nobody reads a secret.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, future},
};
use ecolaura_deploy_core::{
    Result,
    backend::Inspect as _,
    testing::{
        invariants,
        matrix::{Scene, Table},
        simulation::Verdict,
    },
};

use super::*;

const SECRET: &str = "secret-of-the-key";
const PART: u64 = 5 * 1024 * 1024;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// This many of a hundred requests are refused because S3 is busy.
    Busy(usize),
    /// The process ends when a request is made that holds this, of which so many were let pass.
    Killed(&'static str, usize),
    /// As above, and the half upload stays.
    Orphaned,
    /// The first write of the state meets this.
    State(Fate),
    /// The store takes no checksums in headers.
    Hostile,
    /// Others have as much in progress as may be.
    Crowded,
    /// A reference was used before, for other paths.
    Replayed,
    /// It stays in progress for ever.
    Endless,
    /// The credentials end after this many requests.
    Expires(usize),
    /// Nothing may be deleted.
    Undeletable,
}

/// The cases, with what an operator is told where one is asked.
const CASES: [(&str, Fault, Option<&str>); 20] = [
    ("busy/1", Fault::Busy(1), None),
    ("busy/10", Fault::Busy(10), None),
    ("busy/50", Fault::Busy(50), Some("SlowDown")),
    ("busy/100", Fault::Busy(100), Some("SlowDown")),
    ("killed/assets", Fault::Killed("PUT site/app.abcd1002.js", 0), None),
    ("killed/barrier", Fault::Killed("GET ?list-type", 2), None),
    ("killed/pages", Fault::Killed("PUT .ecolaura-deploy/web/objects", 0), None),
    ("killed/switch", Fault::Killed("PUT site/index.html", 0), None),
    ("killed/invalidation", Fault::Killed("/invalidation", 0), None),
    ("killed/prune", Fault::Killed("POST ?delete", 0), None),
    ("orphan-upload", Fault::Orphaned, None),
    ("state/409", Fault::State(Fate::Refused(409, "ConditionalRequestConflict")), None),
    ("state/412", Fault::State(Fate::Refused(412, "PreconditionFailed")), None),
    ("state/500-after-it-was-done", Fault::State(Fate::Broken), None),
    ("store-without-checksums", Fault::Hostile, None),
    ("invalidations/too-many", Fault::Crowded, None),
    ("invalidations/reference-of-another", Fault::Replayed, Some("was used for other paths")),
    ("invalidations/never-done", Fault::Endless, Some("still in progress")),
    ("credentials-that-end", Fault::Expires(12), None),
    ("no-right-to-prune", Fault::Undeletable, None),
];

/// Keys that are renewed when they are asked for.
#[derive(Debug, Default)]
struct Provider(AtomicUsize);

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let id = format!("KEY{}", self.0.fetch_add(1, Ordering::SeqCst));
        future::ProvideCredentials::ready(Ok(Credentials::new(id, SECRET, None, None, "test")))
    }
}

/// One case.
struct Play {
    s3: FakeS3,
    dir: tempfile::TempDir,
    gaps: Arc<Mutex<Vec<String>>>,
}

impl Play {
    fn new() -> Self {
        let play = Self { s3: FakeS3::new(), dir: tempfile::tempdir().unwrap(), gaps: Arc::default() };
        play.s3.at(cx().clock().now().as_second());
        play
    }

    /// As each process has it.
    fn cdn(&self) -> S3Cdn {
        let account = self.s3.account_of(SharedCredentialsProvider::new(Provider::default()), 3);
        let cdn = S3Cdn::new(Name::new("web").unwrap(), account, BUCKET).prefix("site").part_size(PART);
        cdn.distribution("E1").invalidated_within(Duration::from_mins(5))
    }

    /// A site of which each release has a file in parts.
    async fn site(&self, number: u32) -> PreparedSite {
        let large = vec![u8::try_from(number).unwrap(); usize::try_from(PART).unwrap() + 1];
        let source = source(self.dir.path(), number).file(format!("large.{:08x}.wasm", 0xabcd_2000 + number), large);
        source.prepare(&cx()).await.unwrap()
    }

    async fn publish(&self, number: u32) -> Result<PublishReport> {
        self.publish_with(number, PublishOptions::default()).await
    }

    async fn publish_with(&self, number: u32, options: PublishOptions) -> Result<PublishReport> {
        publish(&cx(), &self.cdn(), &self.site(number).await, &options.keep(2)).await
    }

    /// Browsers look after each request.
    fn watch(&self, also: impl Fn(&str) + Send + Sync + 'static) {
        let (gaps, s3) = (Arc::clone(&self.gaps), self.s3.clone());
        self.s3.watch(move |line| {
            also(line);
            let page = s3.object("site/index.html").map(|page| String::from_utf8(page.content).unwrap());
            let names = page.as_deref().map_or_else(|| vec!["index.html"], |page| page.split(' ').collect());
            let missing = names.into_iter().filter(|key| s3.object(&format!("site/{key}")).is_none());
            gaps.lock().unwrap().extend(missing.map(|key| format!("I6: {key} is missing after {line}")));
        });
    }

    fn arrange(&self, fault: Fault) {
        let count = Arc::new(AtomicUsize::new(0));
        match fault {
            Fault::Busy(share) => self.s3.fates(move |_| {
                let number = count.fetch_add(1, Ordering::SeqCst);
                if (number * 37 + 11) % 100 < share { Fate::Refused(503, "SlowDown") } else { Fate::Answered }
            }),
            Fault::State(fate) => self.s3.fates(move |line| {
                let is_state = line == "PUT .ecolaura-deploy/web/live.json";
                if is_state && count.fetch_add(1, Ordering::SeqCst) == 0 { fate } else { Fate::Answered }
            }),
            Fault::Orphaned => self.s3.fates(|line| match line.starts_with("DELETE") {
                true => Fate::Refused(500, "InternalError"),
                false => Fate::Answered,
            }),
            Fault::Undeletable => self.s3.fates(|line| match line.contains("?delete") {
                true => Fate::Refused(403, "AccessDenied"),
                false => Fate::Answered,
            }),
            Fault::Hostile => self.s3.refuse_checksums(),
            Fault::Crowded => {
                self.s3.cloudfront().plant("others", (0..3000).map(|number| format!("/{number}")).collect(), 4);
            }
            Fault::Replayed => self.s3.cloudfront().answers_reused = true,
            Fault::Endless => self.s3.cloudfront().lasts = u32::MAX,
            Fault::Expires(count) => self.s3.expire("KEY0", count),
            Fault::Killed(..) => {}
        }
    }

    fn heal(&self) {
        self.s3.fates(|_| Fate::Answered);
        let mut cloudfront = self.s3.cloudfront();
        (cloudfront.lasts, cloudfront.answers_reused) = (0, false);
    }

    /// The first call, until it ends or is killed.
    async fn first(&self, fault: Fault) -> Option<Result<PublishReport>> {
        let (until, passed) = match fault {
            Fault::Killed(until, passed) => (until, passed),
            Fault::Orphaned => ("PUT site/large.abcd2002.wasm?uploadId", 1),
            _ => {
                self.watch(|_| {});
                return Some(self.publish(2).await);
            }
        };
        let (reached, count) = (Arc::new(tokio::sync::Notify::new()), AtomicUsize::new(0));
        let seen = Arc::clone(&reached);
        self.watch(move |line| {
            if line.contains(until) && count.fetch_add(1, Ordering::SeqCst) == passed {
                seen.notify_one();
            }
        });
        tokio::select! {
            biased;
            () = reached.notified() => {}
            result = self.publish(2) => return Some(result),
        }
        // What a process that is dropped, and not killed, still does.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        None
    }

    async fn judge(&self, fault: Fault, told: Option<&str>, expected: &[String]) -> Verdict {
        self.publish(0).await.unwrap();
        self.publish(1).await.unwrap();
        self.arrange(fault);
        let first = self.first(fault).await;
        let mut broken = Vec::new();
        if matches!(fault, Fault::Killed(..) | Fault::Orphaned) && first.is_some() {
            broken.push("it was not killed".to_owned());
        }
        if fault == Fault::Orphaned && self.s3.uploads() == 0 {
            broken.push("no half upload is there".to_owned());
        }
        let asked = match first {
            Some(Err(error)) => Some(error.report()),
            _ => None,
        };
        if !matches!(fault, Fault::Undeletable | Fault::Busy(..)) || asked.is_some() {
            self.heal();
        }
        self.watch(|_| {});
        // As a run does that goes on; nothing is left to do where the first call ended well.
        if let Err(error) = self.publish_with(2, PublishOptions::default().resuming(true)).await {
            broken.push(format!("I5: the repetition fails: {}", error.report()));
        }
        self.heal();
        self.check(expected, &mut broken).await;
        broken.extend(self.gaps.lock().unwrap().drain(..));
        broken.extend(invariants::no_secrets(&[SECRET], self.sinks(asked.as_deref())));
        Verdict::of(broken, asked).telling(told.as_slice())
    }

    /// Where nobody may read a secret.
    fn sinks(&self, asked: Option<&str>) -> Vec<(&'static str, String)> {
        let objects = self.s3.keys().into_iter().filter_map(|key| {
            let object = self.s3.object(&key)?;
            // Ours are short; the large file is made of one byte.
            let text = String::from_utf8_lossy(&object.content[..object.content.len().min(4096)]).into_owned();
            Some(("an object", format!("{key} {:?} {text}", object.headers)))
        });
        objects.chain(asked.map(|report| ("an error", report.to_owned()))).collect()
    }

    /// The release after it too.
    async fn check(&self, expected: &[String], broken: &mut Vec<String>) {
        let wanted = self.site(2).await;
        let wanted = wanted.manifest().0.iter().map(|(key, object)| (key.clone(), object.digest.to_string()));
        let wanted: BTreeMap<_, _> = wanted.collect();
        let found = wanted.keys().filter_map(|key| {
            let content = self.s3.object(&format!("site/{key}"))?.content;
            Some((key.clone(), Digest::of(content).to_string()))
        });
        broken.extend(invariants::state("the second release", &wanted, &found.collect()));
        let forgotten = self.s3.cloudfront().invalidations.values().filter(|known| known.reference != "others").count();
        if forgotten < 2 {
            broken.push("I7: caches were not told to forget the page".to_owned());
        }
        if let Err(error) = self.publish(3).await {
            broken.push(format!("I5: the next release fails: {}", error.report()));
        }
        let doctor = self.cdn().grace(Duration::ZERO);
        for leftover in doctor.leftovers(&cx()).await.unwrap() {
            doctor.clean(&cx(), &leftover).await.unwrap();
        }
        let left = self.s3.keys();
        if left != expected || self.s3.uploads() > 0 {
            let uploads = self.s3.uploads();
            broken.push(format!("I10: left: {left:?}, expected: {expected:?}, {uploads} half uploads"));
        }
    }
}

/// What is in the bucket after four releases in peace.
async fn calm() -> Vec<String> {
    let calm = Play::new();
    for number in 0..=3 {
        calm.publish(number).await.unwrap();
    }
    calm.s3.keys()
}

/// Time passes where all wait.
fn block<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(work)
}

fn scenes() -> Vec<Scene> {
    let expected: Arc<[String]> = block(calm()).into();
    let scene = |(name, fault, told): (&str, Fault, Option<&'static str>)| {
        let expected = Arc::clone(&expected);
        Scene::new("F", name, move || block(Play::new().judge(fault, told, &expected)))
    };
    CASES.into_iter().map(scene).collect()
}

#[test]
fn what_befalls_a_publish_is_survived_or_contained() {
    let table = Table::default();
    for scene in scenes() {
        table.note(scene.family, &scene.name, &scene.judge());
    }
    println!("{table}");
    assert_eq!(table.failed(), [] as [&str; 0]);
    // A packaged crate has no README of the whole.
    if let Ok(readme) = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")) {
        assert_eq!(table.told_otherwise(&readme), [] as [&str; 0]);
    }
}
