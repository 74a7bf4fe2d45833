//! Secrets of each kind that the library meets, and steps that are careless with them.

mod manifests;

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result, Secret,
    backend::{FeatureFlags, FlagChange, FlagState, SecretStore},
    doctor::Doctor,
    event::{Event, EventSink, FanOut, RecordingSink, Stream},
    pipeline::{Pipeline, constant},
    report::{
        Style,
        json::JsonLines,
        plain::{PlainReporter, render_examination},
    },
    run::Runner,
    steps::{self, Command, SetFlag},
    store::{ObjectRunStore, RunStore},
    testing::{
        fake::small::{FakeFlags, FakeSecrets},
        invariants,
    },
    vocabulary::Name,
};

use super::{Sprung, block, cx, trap};
use crate::families::Cell;

const TOKEN: &str = "canary-3f/9a+1c5e7b2d";

/// A secret, how others show it, and what of it must not be seen.
#[derive(Debug, Clone)]
struct Canary {
    value: String,
    shown: Vec<String>,
    needles: Vec<String>,
}

impl Canary {
    fn new(value: &str, shown: &[&str], needles: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self { value: value.to_owned(), shown: owned(shown), needles: owned(needles) }
    }
}

pub(super) fn all() -> Vec<Cell> {
    let kinds = [addresses(), headers(), files(), encodings()].into_iter().flatten();
    let mut plans: Vec<Cell> =
        kinds.map(|(name, canary)| trap(format!("canaries/{name}"), move || careless(&canary))).collect();
    plans.push(trap("canaries/command-variable", || {
        command(|secret| shell("echo $TOKEN; echo $TOKEN >&2; exit 3").secret_env("TOKEN", secret))
    }));
    plans.push(trap("canaries/command-argument", || command(|secret| shell("echo $0; exit 3").secret_arg(secret))));
    plans.extend(manifests::all());
    plans
}

type Kinds = Vec<(&'static str, Canary)>;

/// What drivers and clients show of an address is not the whole of it.
fn addresses() -> Kinds {
    let database = Canary::new(
        "postgres://app:canary%2F71c5e0@db.example:5432/shop",
        &["no entry for app:canary%2F71c5e0@10.0.0.7", "password `canary/71c5e0` is wrong"],
        &["canary%2F71c5e0", "canary/71c5e0"],
    );
    let userinfo = Canary::new(
        "https://deployer:canary-71c5e0d9@git.example/shop.git",
        &["cannot read https://deployer:canary-71c5e0d9@git.example/other.git"],
        &["canary-71c5e0d9"],
    );
    vec![("database-url", database), ("url-userinfo", userinfo)]
}

fn headers() -> Kinds {
    let basic = STANDARD.encode(format!("deployer:{TOKEN}"));
    let header = Canary::new(
        &format!("Authorization: Bearer {TOKEN}"),
        &[&format!("> authorization: bearer {TOKEN}"), &format!("> Proxy-Authorization: Basic {basic}")],
        &[TOKEN],
    );
    let body = Canary::new(
        "canary\"7\\c1e5f0/d9",
        &[r#"401 {"error":"bad token","token":"canary\"7\\c1e5f0/d9"}"#],
        &["canary\"7\\c1e5f0/d9"],
    );
    vec![("authorization-header", header), ("json-error-body", body)]
}

/// Of a file others show a line, or a field.
fn files() -> Kinds {
    let (id, key) = ("AKIAEXAMPLE7CANARY", "wJalr/K7MDENG+bPxRfiCYEXAMPLE");
    let keys = format!("[deploy]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n");
    let (first, second) = ("MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v", "/OpguoRK9JebLNCyZ0VmX0JpEqGZ");
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{first}\n{second}\n-----END PRIVATE KEY-----\n");
    let document = r#"{"auths":{"registry.example":{"auth":"ZGVwbG95ZXI6Y2FuYXJ5LTE3"}}}"#;
    let (one, two) = ("canary-line-one-4d1f", "canary-line-two-2c9a");
    vec![
        ("key-pair", Canary::new(&keys, &[&format!("signed {id} with {key}"), &keys], &[key, id])),
        ("private-key", Canary::new(&pem, &[&pem, first, second], &[first, second])),
        ("json-document", Canary::new(document, &["auth ZGVwbG95ZXI6Y2FuYXJ5LTE3"], &["ZGVwbG95ZXI6Y2FuYXJ5LTE3"])),
        ("several-lines", Canary::new(&format!("{one}\n{two}"), &[&format!("> {one}"), two], &[one, two])),
    ]
}

fn encodings() -> Kinds {
    let encoded = ["", "a:", "ab:"].map(|user| STANDARD.encode(format!("{user}{TOKEN}")));
    let [plain, one, two] = &encoded;
    let upper = "?token=canary-3f%2F9a%2B1c5e7b2d";
    let encoded = Canary::new(TOKEN, &[plain, one, two, upper, &upper.to_lowercase()], &[TOKEN]);
    vec![("secret-store-value", Canary::new(TOKEN, &[TOKEN], &[TOKEN])), ("encoded", encoded)]
}

fn shell(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

/// Where everything goes that a run says and writes.
struct Sinks {
    store: Arc<ObjectRunStore>,
    recording: Arc<RecordingSink>,
    plain: Arc<PlainReporter<Vec<u8>>>,
    json: Arc<JsonLines<Vec<u8>>>,
    texts: Vec<(&'static str, String)>,
}

impl Sinks {
    fn new() -> Self {
        Self {
            store: Arc::new(ObjectRunStore::memory()),
            recording: Arc::new(RecordingSink::new()),
            plain: Arc::new(PlainReporter::new(Vec::new(), Style::plain())),
            json: Arc::new(JsonLines::new(Vec::new())),
            texts: Vec::new(),
        }
    }

    fn runner(&self) -> Runner {
        let sinks: [Arc<dyn EventSink>; 3] =
            [Arc::clone(&self.recording) as _, Arc::clone(&self.plain) as _, Arc::clone(&self.json) as _];
        Runner::new(Arc::clone(&self.store) as Arc<dyn RunStore>).events(Arc::new(FanOut::new(sinks)))
    }

    fn note(&mut self, place: &'static str, value: &impl Debug) {
        self.texts.push((place, format!("{value:?}")));
    }

    fn error(&mut self, error: &Error) {
        self.texts.push(("an error", error.report()));
        self.note("an error's debug print", error);
    }

    /// Plans and runs; whatever comes of it is noted.
    async fn run(&mut self, cx: &Context, pipeline: Pipeline) {
        let runner = self.runner();
        self.note("a debug print", &(cx, &runner));
        let plan = match runner.plan(cx, pipeline).await {
            Ok(plan) => plan,
            Err(error) => return self.error(&error),
        };
        self.note("a plan", &plan.summary());
        match runner.run(cx, plan).await {
            Ok(finished) => self.note("a result", &finished),
            Err(error) => self.error(&error),
        }
    }

    /// What a doctor says, and everything that was stored.
    async fn look(&mut self, cx: &Context) {
        let doctor = Doctor::new(Arc::clone(&self.store) as Arc<dyn RunStore>, cx.environment().clone());
        match doctor.examine(cx).await {
            Ok(examination) => self.texts.push(("an examination", render_examination(&examination, &Style::plain()))),
            Err(error) => self.error(&error),
        }
        for folder in ["environments", "evidence"] {
            for key in self.store.list(folder).await.unwrap() {
                let body = self.store.get(&key).await.unwrap().unwrap_or_default();
                self.texts.push(("a record", String::from_utf8_lossy(&body).into_owned()));
            }
        }
    }

    /// Fails if a needle is anywhere, or if nothing was said that could have held one.
    fn judge(self, needles: &[String]) -> Sprung {
        let Self { recording, plain, json, mut texts, .. } = self;
        let events = recording.events();
        texts.extend(events.iter().map(|event| ("an event's debug print", format!("{event:?}"))));
        texts.extend(pages(&events));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        texts.push((
            "the plain report",
            Arc::into_inner(plain).map(|plain| text(plain.into_inner())).unwrap_or_default(),
        ));
        texts.push(("the stream", Arc::into_inner(json).map(|json| text(json.into_inner())).unwrap_or_default()));
        let redacted = texts.iter().filter(|(_, text)| text.contains("redacted")).count();
        let empty: Vec<&str> = texts.iter().filter(|(_, text)| text.is_empty()).map(|(place, _)| *place).collect();
        if redacted < 3 || !empty.is_empty() {
            return Err(format!("nothing was put to the test: redacted in {redacted} places, nothing in {empty:?}"));
        }
        let broken = invariants::no_secrets(needles, texts);
        if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
    }
}

#[cfg(not(feature = "html"))]
fn pages(_events: &[Event]) -> Vec<(&'static str, String)> {
    Vec::new()
}

#[cfg(feature = "html")]
fn pages(events: &[Event]) -> Vec<(&'static str, String)> {
    use ecolaura_deploy_core::report::{RunReport, html};
    vec![("the page", html::render(&RunReport::all_from_events(events)))]
}

fn pipeline() -> Pipeline {
    Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap())
}

/// Flags that are switched on, and whose way back fails with this text.
#[derive(Debug)]
struct OneWay {
    inner: FakeFlags,
    calls: AtomicU32,
    text: String,
}

#[async_trait]
impl FeatureFlags for OneWay {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    async fn get(&self, cx: &Context, flag: &str) -> Result<FlagState> {
        self.inner.get(cx, flag).await
    }

    async fn set(&self, cx: &Context, change: &FlagChange) -> Result<()> {
        match self.calls.fetch_add(1, Ordering::Relaxed) {
            0 => self.inner.set(cx, change).await,
            _ => Err(leak(&self.text)),
        }
    }
}

/// An error that shows `text` wherever one can.
fn leak(text: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, "test.leak", format!("refused: {text}"))
        .with("answer", text)
        .advice(format!("do not say {text}"))
        .with_source(std::io::Error::other(text.to_owned()))
}

/// Three runs: one says what it reads and cannot be undone, one panics, one cannot be planned.
fn careless(canary: &Canary) -> Sprung {
    block(async {
        let mut sinks = Sinks::new();
        let cx = cx();
        let secrets = Arc::new(FakeSecrets::new());
        secrets.put("canary", canary.value.clone());
        sinks.note("a store's debug print", &secrets.resolve(&cx, "canary").await);
        sinks.run(&cx, talkative(canary, &secrets)).await;
        for way in ["panic", "plan"] {
            sinks.run(&cx, abrupt(canary, way)).await;
        }
        sinks.look(&cx).await;
        sinks.judge(&canary.needles)
    })
}

fn talkative(canary: &Canary, secrets: &Arc<FakeSecrets>) -> Pipeline {
    let mut pipeline = pipeline();
    let text = canary.shown.join("\n");
    let flags = FakeFlags::new().with("beta", &["off", "on"], FlagState::new(true, "off"));
    let flags = Arc::new(OneWay { inner: flags, calls: AtomicU32::new(0), text: text.clone() });
    let switched = pipeline.add("flag", SetFlag::new(flags, "beta", FlagState::new(true, "on")), constant(()));
    let (secrets, shown) = (Arc::clone(secrets), canary.shown.clone());
    let reads = steps::call("read", move |cx, ()| {
        let (secrets, shown) = (Arc::clone(&secrets), shown.clone());
        async move {
            let reference = secrets.resolve(&cx, "canary").await?;
            let secret = secrets.get(&cx, &reference).await?;
            cx.status(format!("read {secret} {secret:?} {}", secret.expose()));
            for text in &shown {
                cx.warn(format!("it is {text}"));
                cx.output(Stream::Stdout, text);
                cx.evidence(text, vec![format!("found {text}")]);
            }
            Err::<bool, _>(leak(&shown.join("\n")))
        }
    });
    pipeline.step("read", reads, constant(())).after(&switched).add();
    pipeline
}

/// A run that ends suddenly, at a time when the secret is known.
fn abrupt(canary: &Canary, way: &'static str) -> Pipeline {
    let mut pipeline = pipeline();
    let text = canary.shown.join("\n");
    if way == "plan" {
        let flags = FakeFlags::new();
        let flags = OneWay { inner: flags, calls: AtomicU32::new(0), text: text.clone() };
        // The flag that is asked for does not exist, and has a telling name.
        pipeline.add("flag", SetFlag::new(Arc::new(flags), text, FlagState::new(true, "on")), constant(()));
        return pipeline;
    }
    let panics = steps::call("panic", move |_, ()| {
        let text = text.clone();
        async move {
            assert!(text.is_empty(), "it was {text}");
            Ok(true)
        }
    });
    pipeline.add("panic", panics, constant(()));
    pipeline
}

/// A program that shows what it is given, and fails.
fn command(make: impl Fn(Secret<String>) -> Command) -> Sprung {
    block(async {
        let mut sinks = Sinks::new();
        let (cx, mut pipeline) = (cx(), pipeline());
        let command = make(Secret::new(TOKEN.to_owned()));
        sinks.note("a command's debug print", &command);
        pipeline.add("program", command, constant(()));
        sinks.run(&cx, pipeline).await;
        sinks.look(&cx).await;
        sinks.judge(&[TOKEN.to_owned()])
    })
}
