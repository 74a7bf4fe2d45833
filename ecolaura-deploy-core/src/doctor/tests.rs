use std::{path::Path, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::*;
use crate::{
    Context, Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    lock::{self, Holder, LockPolicy, Machine, ThisMachine, Wait},
    nonce::{NonceSource, RandomNonces},
    pipeline::{Landing, Pipeline, constant},
    report::{
        Style,
        plain::{render_examination, render_fixed},
    },
    run::{RunResult, Runner},
    step::EffectClass,
    steps::{self, KeptFolders},
    store::{self, ObjectRunStore},
    vocabulary::{Release, ReleaseSequence},
};

fn cx(environment: &str) -> Context {
    Context::new(environment.parse().unwrap())
}

/// A run of two steps whose process is gone in the middle of the second.
async fn broken_off(store: &Arc<dyn RunStore>, environment: &str) -> String {
    let begun = Arc::new(Notify::new());
    let said = Arc::clone(&begun);
    let mut pipeline = Pipeline::new("ship".parse().unwrap(), environment.parse().unwrap());
    let built = pipeline.add("build", steps::call("build", |_cx, (): ()| async { Ok(1_u64) }), constant(()));
    let hang = steps::call("push", move |_cx, _: u64| {
        let said = Arc::clone(&said);
        async move {
            said.notify_one();
            std::future::pending::<Result<u64>>().await
        }
    });
    pipeline.add("push", hang.effect_class(EffectClass::Converging), built);
    let runner = Runner::new(Arc::clone(store));
    let plan = runner.plan(&cx(environment), pipeline).await.unwrap();
    let context = cx(environment);
    tokio::select! {
        ended = runner.run(&context, plan) => panic!("{ended:?}"),
        () = begun.notified() => {}
    }
    store.names(&format!("environments/{environment}/runs")).await.unwrap().pop().unwrap()
}

/// A run of one step, which succeeds if `good`.
async fn ended(store: &Arc<dyn RunStore>, good: bool) -> String {
    let mut pipeline = Pipeline::new("ship".parse().unwrap(), "dev".parse().unwrap());
    let step = steps::call("test", move |_cx, (): ()| async move {
        if good { Ok(1_u64) } else { Err(Error::new(ErrorKind::GateRefused, "test.run", "no")) }
    });
    pipeline.add("test", step, constant(()));
    let runner = Runner::new(Arc::clone(store));
    let plan = runner.plan(&cx("dev"), pipeline).await.unwrap();
    let finished = runner.run(&cx("dev"), plan).await.unwrap();
    assert_eq!(finished.result == RunResult::Succeeded, good);
    finished.run
}

fn memory() -> Arc<dyn RunStore> {
    Arc::new(ObjectRunStore::memory())
}

fn doctor(store: &Arc<dyn RunStore>) -> Doctor {
    Doctor::new(Arc::clone(store), "dev".parse().unwrap())
}

/// Folders with a copy that did not end.
fn kept(dir: &Path) -> Arc<KeptFolders> {
    let left = dir.join("kept/.0123456789ab-7");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("x"), "x").unwrap();
    Arc::new(KeptFolders::new(dir.join("kept")))
}

fn whats(examination: &Examination) -> Vec<&str> {
    examination.findings.iter().map(|finding| finding.what.as_str()).collect()
}

async fn all(store: &Arc<dyn RunStore>) -> Vec<(String, bytes::Bytes)> {
    let mut found = Vec::new();
    for key in store.list("environments").await.unwrap() {
        let body = store.get(&key).await.unwrap().unwrap();
        found.push((key, body));
    }
    found
}

async fn overwrite(store: &Arc<dyn RunStore>, key: &str, body: &[u8]) {
    store.remove(key).await.unwrap();
    store.create(key, bytes::Bytes::copy_from_slice(body)).await.unwrap();
}

#[tokio::test]
async fn what_is_in_order_is_said_to_be() {
    let store = memory();
    for good in [true, false] {
        ended(&store, good).await;
    }
    let examination = doctor(&store).examine(&cx("dev")).await.unwrap();
    let text = render_examination(&examination, &Style::plain());
    assert_eq!(text, "dev: nothing is open, damaged or left over\n");
}

#[tokio::test]
async fn an_open_run_is_told_with_the_step_it_broke_off_in_and_what_to_do() {
    let store = memory();
    let run = broken_off(&store, "dev").await;
    let before = all(&store).await;
    let examination = doctor(&store).examine(&cx("dev")).await.unwrap();
    let epoch = lock::look(store.as_ref(), &"dev".parse().unwrap()).await.unwrap().unwrap().epoch;
    let held = format!("epoch {epoch} of dev is held by nobody");
    assert_eq!(whats(&examination), [format!("open run {run}"), held], "its process dropped it");
    let text = render_examination(&examination, &Style::plain());
    for part in ["pipeline `ship`", "`push` was begun", "1 of 2 steps", "`Runner::resume`", "`Runner::roll_back`"] {
        assert!(text.contains(part), "no {part}: {text}");
    }
    assert!(
        !text.contains("`build` was begun") && text.ends_with("dev: 2 warnings; a fix would do nothing\n"),
        "{text}"
    );
    let (resume, roll_back) = ("ship --resume".to_owned(), "ship --roll-back".to_owned());
    let doctor = doctor(&store).commands(Commands { resume, roll_back, ..Commands::default() });
    let text = render_examination(&doctor.examine(&cx("dev")).await.unwrap(), &Style::plain());
    assert!(text.contains("`ship --resume`") && text.contains("`ship --roll-back`"), "{text}");
    let fixed = doctor.fix(&cx("dev"), &examination, Dry::No).await.unwrap();
    assert_eq!((fixed, all(&store).await), (Fixed::default(), before), "nothing is resumed, and nothing was written");
}

#[tokio::test]
async fn a_leftover_is_cleaned_up_only_when_that_is_asked_for() {
    let (store, dir) = (memory(), tempfile::tempdir().unwrap());
    let doctor = doctor(&store).inspect(kept(dir.path()));
    let left = dir.path().join("kept/.0123456789ab-7");
    let examination = doctor.examine(&cx("dev")).await.unwrap();
    assert_eq!(whats(&examination), [format!("unfinished copy {}", left.display())]);
    let dry = doctor.fix(&cx("dev"), &examination, Dry::default()).await.unwrap();
    assert_eq!((dry.would.len(), dry.done.len(), left.exists()), (1, 0, true));
    assert!(render_fixed(&dry, &Style::plain()).ends_with("1 would be cleaned up; nothing was changed\n"));
    for _ in 0..2 {
        let done = doctor.fix(&cx("dev"), &examination, Dry::No).await.unwrap();
        assert_eq!((done.would.len(), done.done.len(), left.exists()), (0, 1, false));
    }
    assert_eq!(doctor.examine(&cx("dev")).await.unwrap().findings, []);
    let other = Examination { environment: "staging".parse().unwrap(), ..examination };
    assert_eq!(doctor.fix(&cx("dev"), &other, Dry::No).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn while_a_run_is_open_in_any_environment_nothing_is_cleaned_up() {
    for environment in ["dev", "staging"] {
        let (store, dir) = (memory(), tempfile::tempdir().unwrap());
        let doctor = doctor(&store).inspect(kept(dir.path()));
        let free = doctor.examine(&cx("dev")).await.unwrap();
        let run = broken_off(&store, environment).await;
        let examination = doctor.examine(&cx("dev")).await.unwrap();
        let leftover = examination.findings.last().unwrap();
        assert_eq!((leftover.severity, leftover.fixable), (Severity::Note, false));
        assert!(
            leftover.known.iter().any(|known| known.contains(&format!("run {run} of {environment}"))),
            "{leftover:?}"
        );
        assert_eq!(doctor.fix(&cx("dev"), &examination, Dry::No).await.unwrap(), Fixed::default());
        // One that began after the look.
        let before = all(&store).await;
        let error = doctor.fix(&cx("dev"), &free, Dry::No).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains(&format!("run {run} of {environment} is open")), "{error}");
        assert_eq!(all(&store).await, before, "it took nothing");
        assert!(dir.path().join("kept/.0123456789ab-7").exists());
    }
}

#[tokio::test]
async fn damage_is_named_with_what_is_still_known_and_left_alone() {
    for damage in ["flipped", "cut", "empty", "missing", "last", "newer"] {
        let store = memory();
        let run = ended(&store, true).await;
        let keys = store.list(&format!("environments/dev/runs/{run}")).await.unwrap();
        let key = if damage == "last" { keys.last().unwrap() } else { &keys[1] };
        let mut line = store.get(key).await.unwrap().unwrap().to_vec();
        match damage {
            "flipped" => line[20] ^= 1,
            "newer" => line = br#"{"schema":7,"new":true}"#.to_vec(),
            "empty" => line.clear(),
            _ => line.truncate(40),
        }
        overwrite(&store, key, &line).await;
        if damage == "missing" {
            store.remove(key).await.unwrap();
        }
        let before = all(&store).await;
        let examination = doctor(&store).examine(&cx("dev")).await.unwrap();
        assert_eq!(examination.findings.len(), 1, "{damage}: {examination:?}");
        let finding = &examination.findings[0];
        assert_eq!((finding.severity, finding.fixable), (Severity::Problem, false), "{damage}");
        let said = format!("{} {} {}", finding.what, finding.place, finding.known.join(" "));
        let expected: &[&str] = match damage {
            "missing" => &["1 record", "is missing", &keys[2], "it succeeded"],
            "newer" => &["newer program", key, "schema 7", "it succeeded"],
            "last" => &["damaged record", key, "bytes 0..40", "it succeeded"],
            "empty" => &["damaged record", key, "bytes 0..0", "it succeeded"],
            _ => &["damaged record", key, "it succeeded"],
        };
        assert!(expected.iter().all(|part| said.contains(part)), "{damage}: {said}");
        doctor(&store).fix(&cx("dev"), &examination, Dry::No).await.unwrap();
        assert_eq!(all(&store).await, before, "{damage}");
    }
}

/// A backend that is not there.
#[derive(Debug)]
struct Away(Name);

#[async_trait]
impl Inspect for Away {
    fn name(&self) -> &Name {
        &self.0
    }

    async fn leftovers(&self, _cx: &Context) -> Result<Vec<Leftover>> {
        Err(Error::new(ErrorKind::Unavailable, "away.inspect", "nobody answers").advice("start it"))
    }

    async fn clean(&self, _cx: &Context, _leftover: &Leftover) -> Result<()> {
        Err(Error::internal("away.clean", "not asked for"))
    }
}

#[tokio::test]
async fn a_backend_that_is_away_hides_no_other() {
    let (store, dir) = (memory(), tempfile::tempdir().unwrap());
    let doctor = doctor(&store).inspect(Arc::new(Away("away".parse().unwrap()))).inspect(kept(dir.path()));
    let examination = doctor.examine(&cx("dev")).await.unwrap();
    assert_eq!(examination.findings.len(), 2);
    let text = render_examination(&examination, &Style::plain());
    assert!(text.contains("Nobody answers") && text.contains("Start it."), "{text}");
    assert!(text.ends_with("dev: 1 problem, 1 warning; a fix cleans up 1\n"), "{text}");
}

/// Holds `environment` by `holder`.
async fn hold(store: &Arc<dyn RunStore>, environment: &str, holder: Holder) -> lock::Epoch {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let nonces: Arc<dyn NonceSource> = Arc::new(RandomNonces);
    let machine: Arc<dyn Machine> = Arc::new(ThisMachine);
    let request = lock::Request {
        store,
        clock: &clock,
        nonces: &nonces,
        environment: &environment.parse().unwrap(),
        run: "r1",
        holder: &holder,
        machine: &machine,
        landing: Landing::Unnumbered,
        policy: LockPolicy::default(),
    };
    lock::acquire(&cx(environment), request).await.unwrap()
}

fn gone() -> Holder {
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let holder = Holder::of_process(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    holder
}

#[tokio::test]
async fn who_holds_the_environment_is_told_and_whether_it_lives() {
    let here = || format!("process {}", std::process::id());
    let elsewhere = Holder::new("elsewhere", 42, "");
    for (holder, severity, parts, usable) in [
        (Holder::this_process(), Severity::Note, ["is held\n", "lives, on this machine", "Let it end"], false),
        (elsewhere, Severity::Note, ["perhaps by nobody", "cannot be told", "silent for 1 min 15 s"], false),
        (gone(), Severity::Warning, ["held by nobody", "proven gone", "takes it over at once"], true),
    ] {
        let (store, dir) = (memory(), tempfile::tempdir().unwrap());
        let who =
            if severity == Severity::Note && !parts[0].contains("perhaps") { here() } else { "for run r1".into() };
        let doctor = doctor(&store).inspect(kept(dir.path()));
        let free = doctor.examine(&cx("dev")).await.unwrap();
        let lives = holder == Holder::this_process();
        let epoch = hold(&store, "dev", holder).await;
        let number = epoch.number();
        let _held = lives.then_some(epoch);
        let before = all(&store).await;
        let examination = doctor.examine(&cx("dev")).await.unwrap();
        assert_eq!((examination.findings.len(), examination.findings[0].severity), (2, severity));
        assert_eq!(examination.findings[0].subject, Subject::Epoch { number });
        assert_eq!(examination.findings[1].fixable, usable);
        let text = render_examination(&examination, &Style::plain().with_width(200));
        for part in parts.into_iter().chain([who.as_str(), "sign of life"]) {
            assert!(text.contains(part), "no {part}: {text}");
        }
        let fixed = doctor.fix(&cx("dev"), &free, Dry::No).await;
        if usable {
            assert_eq!(fixed.unwrap().done.len(), 1);
            assert_eq!(doctor.examine(&cx("dev")).await.unwrap().findings, [], "it holds nothing any more");
        } else {
            let error = fixed.unwrap_err();
            assert!(error.message().contains(" since ") && error.message().contains("for run r1"), "{error}");
            assert_eq!((error.kind(), all(&store).await), (ErrorKind::Conflict, before));
        }
    }
}

#[tokio::test]
async fn a_held_environment_keeps_what_it_shares_with_others() {
    let (store, dir) = (memory(), tempfile::tempdir().unwrap());
    let _held = hold(&store, "staging", Holder::this_process()).await;
    let examination = doctor(&store).inspect(kept(dir.path())).examine(&cx("dev")).await.unwrap();
    assert_eq!((examination.findings.len(), examination.findings[0].fixable), (1, false));
    assert!(examination.findings[0].known.iter().any(|known| known.contains("staging is held by")));
}

#[tokio::test]
async fn damage_of_the_lock_is_named_and_a_lock_of_a_newer_program_keeps_all() {
    for (line, what) in [(&b"{"[..], "damaged record"), (br#"{"schema":7}"#, "record of a newer program")] {
        let (store, dir) = (memory(), tempfile::tempdir().unwrap());
        let held = format!("epochs/{:010}/held", hold(&store, "dev", gone()).await.number());
        overwrite(&store, &format!("environments/dev/{held}"), line).await;
        let before = all(&store).await;
        let doctor = doctor(&store).inspect(kept(dir.path()));
        let examination = doctor.examine(&cx("dev")).await.unwrap();
        let named = format!("{what} {held}");
        assert!(whats(&examination).contains(&named.as_str()), "{examination:?}");
        assert!(!examination.findings.last().unwrap().fixable, "{examination:?}");
        assert_eq!(all(&store).await, before);
    }
}

/// A backend that cleans until it is told to end, and says under which token.
#[derive(Debug)]
struct Slow(Name, Notify, Notify, std::sync::atomic::AtomicU64);

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self("slow".parse().unwrap(), Notify::new(), Notify::new(), 0.into()))
    }
}

#[async_trait]
impl Inspect for Slow {
    fn name(&self) -> &Name {
        &self.0
    }

    async fn leftovers(&self, _cx: &Context) -> Result<Vec<Leftover>> {
        Ok(vec![Leftover::new("staged blob", "b1", "nobody needs it", "remove it")])
    }

    async fn clean(&self, cx: &Context, _leftover: &Leftover) -> Result<()> {
        self.3.store(cx.epoch(), std::sync::atomic::Ordering::Relaxed);
        self.1.notify_one();
        self.2.notified().await;
        Ok(())
    }
}

async fn is_free(store: &Arc<dyn RunStore>, environment: &str) -> bool {
    let seen = lock::look(store.as_ref(), &environment.parse().unwrap()).await.unwrap();
    seen.is_none_or(|seen| seen.released)
}

/// A deployer that waits as `wait` says.
async fn deploy(store: Arc<dyn RunStore>, environment: &str, wait: Wait) -> Result<RunResult> {
    let mut pipeline = Pipeline::new("ship".parse().unwrap(), environment.parse().unwrap());
    pipeline.add("test", steps::call("test", |_cx, (): ()| async { Ok(1_u64) }), constant(()));
    let runner = Runner::new(store).lock(LockPolicy::default().wait(wait));
    let plan = runner.plan(&cx(environment), pipeline).await?;
    Ok(runner.run(&cx(environment), plan).await?.result)
}

#[tokio::test]
async fn a_deployer_that_begins_while_the_doctor_cleans_waits_or_fails_by_name() {
    let (store, slow) = (memory(), Slow::new());
    deploy(Arc::clone(&store), "staging", Wait::Fail).await.unwrap();
    let doctor = doctor(&store).inspect(Arc::<Slow>::clone(&slow));
    let examination = doctor.examine(&cx("dev")).await.unwrap();
    let cleans = tokio::spawn(async move { doctor.fix(&cx("dev"), &examination, Dry::No).await });
    slow.1.notified().await;
    for environment in ["dev", "staging"] {
        let error = deploy(Arc::clone(&store), environment, Wait::Fail).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Conflict, "lock.acquire"));
        let by = format!("{environment} is held by run doctor of ");
        assert!(error.message().starts_with(&by) && error.message().contains(" since "), "{error}");
    }
    let epoch = lock::look(store.as_ref(), &"dev".parse().unwrap()).await.unwrap().unwrap().epoch;
    assert_eq!(slow.3.load(std::sync::atomic::Ordering::Relaxed), epoch, "what fences sees who cleans");
    let other = super::tests::doctor(&store).inspect(Slow::new());
    let held = other.examine(&cx("dev")).await.unwrap();
    assert!(held.findings[0].known[0].ends_with("for a doctor that cleans up"), "{held:?}");
    let waits = tokio::spawn(deploy(Arc::clone(&store), "staging", Wait::Queue(Duration::from_mins(5))));
    slow.2.notify_one();
    assert_eq!(cleans.await.unwrap().unwrap().done.len(), 1);
    assert_eq!(waits.await.unwrap().unwrap(), RunResult::Succeeded);
    assert!(is_free(&store, "dev").await && is_free(&store, "staging").await);
}

#[tokio::test]
async fn a_doctor_that_begins_while_a_deployer_works_cleans_nothing() {
    let (store, dir) = (memory(), tempfile::tempdir().unwrap());
    deploy(Arc::clone(&store), "dev", Wait::Fail).await.unwrap();
    let doctor = doctor(&store).inspect(kept(dir.path()));
    let examination = doctor.examine(&cx("dev")).await.unwrap();
    let works = hold(&store, "staging", Holder::this_process()).await;
    let error = doctor.fix(&cx("dev"), &examination, Dry::No).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let parts = ["staging is held by process", "since 20", "for run r1"];
    assert!(parts.iter().all(|part| error.message().contains(part)), "{error}");
    // The same where the look comes too early to see it.
    let mut held = Vec::new();
    let runner = Runner::new(Arc::clone(&store));
    held.push(runner.acquire(&cx("dev"), &"dev".parse().unwrap(), "r2", Landing::Unnumbered).await.unwrap());
    let state = works.state().clone();
    works.release(state).await.unwrap();
    let error = doctor.fix(&cx("dev"), &examination, Dry::No).await.unwrap_err();
    assert!(error.message().contains("dev is held by"), "{error}");
    assert!(dir.path().join("kept/.0123456789ab-7").exists() && is_free(&store, "staging").await);
}

#[tokio::test]
async fn a_cancelled_or_fenced_doctor_stops_and_keeps_no_lock() {
    for cancelled in [true, false] {
        let (store, slow, dir) = (memory(), Slow::new(), tempfile::tempdir().unwrap());
        let doctor = doctor(&store).inspect(Arc::<Slow>::clone(&slow)).inspect(kept(dir.path()));
        let examination = doctor.examine(&cx("dev")).await.unwrap();
        let context = cx("dev");
        let cancel = context.cancellation().clone();
        let cleans = tokio::spawn(async move { doctor.fix(&context, &examination, Dry::No).await });
        slow.1.notified().await;
        if cancelled {
            cancel.cancel();
        } else {
            let seen = lock::look(store.as_ref(), &"dev".parse().unwrap()).await.unwrap().unwrap();
            let newer = format!("environments/dev/epochs/{:010}/held", seen.epoch + 1);
            store.create(&newer, bytes::Bytes::from_static(b"another")).await.unwrap();
        }
        slow.2.notify_one();
        let fixed = cleans.await.unwrap();
        match cancelled {
            true => assert_eq!(fixed.unwrap_err().kind(), ErrorKind::Cancelled),
            false => assert_eq!(fixed.unwrap().failed[0].1.kind, ErrorKind::Fenced),
        }
        assert!(dir.path().join("kept/.0123456789ab-7").exists(), "the rest stays");
        assert_eq!(is_free(&store, "dev").await, cancelled, "the newer one is another's");
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_run_is_listed_and_an_open_one_can_be_given_up() {
    let store = memory();
    let run = broken_off(&store, "dev").await;
    let keys = store.list(&format!("environments/dev/runs/{run}")).await.unwrap();
    overwrite(&store, &keys[0], b"{").await;
    store.remove(&keys[2]).await.unwrap();
    let examination = doctor(&store).examine(&cx("dev")).await.unwrap();
    let name = |key: &str| key.strip_prefix("environments/dev/").unwrap().to_owned();
    let faults: Vec<&Finding> =
        examination.findings.iter().filter(|finding| matches!(finding.subject, Subject::Record { .. })).collect();
    let found: Vec<&str> = faults.iter().map(|finding| finding.what.as_str()).collect();
    let expected = [format!("damaged record {}", name(&keys[0])), format!("gap before record {}", name(&keys[3]))];
    assert_eq!(found, expected);
    let give_up = format!("`Runner::give_up {run}`");
    assert!(faults.iter().all(|fault| fault.action.contains(&give_up) && fault.action.contains("from a copy")));
    assert_eq!(examination.findings[0].what, format!("open run {run}"));
    assert!(examination.findings[0].known.iter().any(|known| known.contains("`push` was begun")), "{examination:?}");

    Runner::new(Arc::clone(&store)).give_up(&cx("dev"), &run).await.unwrap();
    let examination = doctor(&store).examine(&cx("dev")).await.unwrap();
    assert_eq!(examination.findings[0].what, format!("run {run} that could not be undone"));
    assert!(examination.findings[0].known.iter().any(|known| known.contains("is not known")), "{examination:?}");
    assert!(examination.findings[1..].iter().all(|finding| !finding.action.contains("give_up")), "{examination:?}");
    assert_eq!(deploy(Arc::clone(&store), "dev", Wait::Fail).await.unwrap(), RunResult::Succeeded);
}

#[tokio::test]
async fn a_run_whose_end_is_lost_is_told_from_an_open_one() {
    let store = memory();
    let (run, _) = (ended(&store, true).await, ended(&store, true).await);
    let keys = store.list(&format!("environments/dev/runs/{run}")).await.unwrap();
    store.remove(keys.last().unwrap()).await.unwrap();
    let examination = doctor(&store).examine(&cx("dev")).await.unwrap();
    assert_eq!(whats(&examination), [format!("run {run} without its end")]);
    assert!(examination.findings[0].known.join(" ").contains("counts it as over"), "{examination:?}");
}

/// A store that counts what it is asked for.
#[derive(Debug)]
struct Counting(ObjectRunStore, std::sync::Mutex<Vec<String>>);

#[async_trait]
impl RunStore for Counting {
    async fn create(&self, key: &str, body: bytes::Bytes) -> Result<store::Created> {
        self.0.create(key, body).await
    }

    async fn get(&self, key: &str) -> Result<Option<bytes::Bytes>> {
        self.1.lock().unwrap().push(key.to_owned());
        self.0.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.list(prefix).await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.names(prefix).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.0.remove(key).await
    }
}

#[tokio::test]
async fn what_is_old_is_read_only_when_everything_is_asked_for() {
    let counting = Arc::new(Counting(ObjectRunStore::memory(), std::sync::Mutex::default()));
    let store: Arc<dyn RunStore> = Arc::<Counting>::clone(&counting);
    ended(&store, true).await;
    let open = broken_off(&store, "dev").await;
    for number in 0..60 {
        let key = format!("environments/dev/runs/30000101T{number:06}Z/00000000");
        store.create(&key, bytes::Bytes::from_static(b"{")).await.unwrap();
    }
    let dev = "dev".parse().unwrap();
    let releases = store::StoredReleases::new(store.as_ref(), &dev);
    for sequence in 1..=60 {
        let release = Release::new(ReleaseSequence(sequence), String::new());
        let new = store::NewRelease { release: &release, by: String::new(), epoch: 1 };
        releases.append(releases.newest().await.unwrap(), new).await.unwrap();
    }
    let read = || std::mem::take(&mut *counting.1.lock().unwrap());
    let asked = |keys: &[String], of: &str| keys.iter().any(|key| key.contains(of));
    read();
    let examination = doctor(&store).examine(&cx("dev")).await.unwrap();
    assert_eq!(examination.findings[0].what, format!("open run {open}"), "however old it is");
    let keys = read();
    assert!(!asked(&keys, "T000009Z") && asked(&keys, "T000010Z"));
    assert!(!asked(&keys, "releases/00000010") && asked(&keys, "releases/00000011"));
    let unread = examination.unread.as_ref().unwrap();
    assert_eq!((unread.runs, unread.releases, unread.action.as_str()), (10, 10, "`Doctor::everything` reads them too"));
    let text = render_examination(&examination, &Style::plain().with_width(200));
    let line = "not read: 10 older runs and 10 older releases, on which nothing rests that is open or live; \
                `Doctor::everything` reads them too";
    assert!(text.lines().any(|found| found == line), "{text}");

    let everything = doctor(&store).everything().examine(&cx("dev")).await.unwrap();
    let keys = read();
    assert!(asked(&keys, "T000009Z") && asked(&keys, "releases/00000010") && everything.unread.is_none());
    assert_eq!(everything.findings.len(), examination.findings.len() + 10);
}

#[tokio::test]
async fn a_run_that_waits_and_whose_records_are_gone_is_in_nobodys_way() {
    let store = memory();
    let mut pipeline = Pipeline::new("ship".parse().unwrap(), "dev".parse().unwrap());
    let waits = |_cx, (): ()| async { Err::<u64, _>(Error::new(ErrorKind::Waiting, "t", "not yet")) };
    pipeline.add("wait", steps::call("wait", waits), constant(()));
    let runner = Runner::new(Arc::clone(&store));
    let plan = runner.plan(&cx("dev"), pipeline).await.unwrap();
    let run = runner.run(&cx("dev"), plan).await.unwrap().run;
    for key in store.list(&format!("environments/dev/runs/{run}")).await.unwrap() {
        store.remove(&key).await.unwrap();
    }
    let examination = doctor(&store).examine(&cx("dev")).await.unwrap();
    assert_eq!(whats(&examination), [format!("open run {run}")]);
    assert!(examination.findings[0].action.contains("next run begins without it"), "{examination:?}");
    assert_eq!(deploy(Arc::clone(&store), "dev", Wait::Fail).await.unwrap(), RunResult::Succeeded);
    assert_eq!(doctor(&store).examine(&cx("dev")).await.unwrap().findings, []);
}
