use std::path::Path;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::*;
use crate::{
    Context, Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    lock::{self, Holder, LockPolicy},
    nonce::{NonceSource, RandomNonces},
    pipeline::{Landing, Pipeline, constant},
    report::{
        Style,
        plain::{render_examination, render_fixed},
    },
    run::{RunResult, Runner},
    step::EffectClass,
    steps::{self, KeptFolders},
    store::ObjectRunStore,
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
    let doctor = doctor(&store).commands("ship --resume", "ship --roll-back");
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
        let fixed = doctor.fix(&cx("dev"), &free, Dry::No).await.unwrap();
        assert_eq!((fixed.failed.len(), fixed.failed[0].1.kind), (1, ErrorKind::Conflict));
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
            "last" => &["damaged record", key, "bytes 0..40", "cannot be told"],
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
    let machine: Arc<dyn lock::Machine> = Arc::new(lock::ThisMachine);
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
        let fixed = doctor.fix(&cx("dev"), &free, Dry::No).await.unwrap();
        assert_eq!((fixed.done.len(), fixed.failed.len()), (usize::from(usable), usize::from(!usable)));
        assert_eq!(all(&store).await, before);
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
