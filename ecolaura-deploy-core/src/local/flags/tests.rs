use super::*;

const FILE: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "new-checkout": {
      "state": "ENABLED",
      "variants": {"on": true, "off": false},
      "defaultVariant": "off",
      "targeting": {"if": [{"==": [{"var": "email"}, "a@b.c"]}, "on", null]}
    },
    "banner": {"state": "DISABLED", "variants": {"red": "r"}, "defaultVariant": "red"}
  },
  "$evaluators": {"x": {"in": ["@b.c", {"var": "email"}]}}
}"#;

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

fn flags() -> (tempfile::TempDir, FlagFile) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.json");
    std::fs::write(&path, FILE).unwrap();
    (folder, FlagFile::new("flags".parse().unwrap(), path))
}

fn change(from: &str, to: &str) -> FlagChange {
    FlagChange::new("new-checkout", FlagState::new(true, from), FlagState::new(true, to))
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn conforms() {
    let folders = std::sync::Mutex::new(Vec::new());
    crate::testing::conformance::small::flags::suite(|| async {
        let (folder, flags) = flags();
        folders.lock().unwrap().push(folder);
        std::sync::Arc::new(flags) as std::sync::Arc<dyn FeatureFlags>
    })
    .await;
}

#[tokio::test]
async fn everything_else_in_the_file_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, flags) = flags();
    std::fs::set_permissions(&flags.path, std::fs::Permissions::from_mode(0o640)).unwrap();
    flags.set(&cx(), &change("off", "on")).await.unwrap();
    let mut expected: Value = serde_json::from_str(FILE).unwrap();
    expected["flags"]["new-checkout"]["defaultVariant"] = json!("on");
    let found: Value = serde_json::from_slice(&std::fs::read(&flags.path).unwrap()).unwrap();
    assert_eq!(found, expected);
    assert_eq!(std::fs::metadata(&flags.path).unwrap().permissions().mode() & 0o777, 0o640);
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["flags.json", "flags.json.lock"]);
}

#[tokio::test]
async fn already_there_does_not_touch_the_file() {
    let (_folder, flags) = flags();
    flags.set(&cx(), &change("on", "off")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&flags.path).unwrap(), FILE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_each_change_happens_once() {
    let (_folder, flags) = flags();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..16 {
        // Each has its own handle, as another process would.
        let flags = flags.clone();
        let (from, to) = if writer % 2 == 0 { ("off", "on") } else { ("on", "off") };
        tasks.spawn(async move { flags.set(&cx(), &change(from, to)).await });
    }
    for result in tasks.join_all().await {
        result.unwrap();
    }
    flags.get(&cx(), "new-checkout").await.unwrap();
}

#[tokio::test]
async fn a_lock_held_elsewhere_is_waited_for_until_the_deadline() {
    let (_folder, flags) = flags();
    let _lock = rewrite::lock(&cx(), &flags.path).unwrap();
    let cx = cx().with_deadline_in(std::time::Duration::from_millis(50));
    assert_eq!(flags.set(&cx, &change("off", "on")).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(std::fs::read_to_string(&flags.path).unwrap(), FILE);
}

#[tokio::test]
async fn bad_files_are_named_with_the_place() {
    let (_folder, flags) = flags();
    for (content, expected) in [
        ("{\"flags\": }", "line 1, column 11"),
        ("{}", "no object `flags`"),
        (r#"{"flags":{"new-checkout":3}}"#, "`flags.new-checkout` is 3"),
        (r#"{"flags":{"new-checkout":{"state":"on"}}}"#, "`flags.new-checkout.state` is \"on\""),
        (r#"{"flags":{"new-checkout":{"state":"ENABLED"}}}"#, "`flags.new-checkout.defaultVariant` is missing"),
        (r#"{"flags":{"other":{}}}"#, "there are: `other`"),
    ] {
        std::fs::write(&flags.path, content).unwrap();
        let report = flags.get(&cx(), "new-checkout").await.unwrap_err().report();
        assert!(report.contains(expected) && report.contains("flags.json"), "{content}: {report}");
    }
    std::fs::remove_file(&flags.path).unwrap();
    assert_eq!(flags.set(&cx(), &change("off", "on")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_newest_epoch_stands_beside_the_flags_and_is_not_theirs() {
    let (folder, flags) = flags();
    let (epochs, under) = (folder.path().join("flags.json.epochs"), |epoch| cx().with_epoch(epoch));
    flags.set(&cx(), &change("off", "on")).await.unwrap();
    assert!(!epochs.exists(), "outside a run there is nothing to remember");
    flags.set(&under(5), &change("on", "off")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&epochs).unwrap(), r#"{"dev":5}"#);
    let found: Value = serde_json::from_slice(&std::fs::read(&flags.path).unwrap()).unwrap();
    assert_eq!(found, serde_json::from_str::<Value>(FILE).unwrap());
    let another = FlagFile::new("flags".parse().unwrap(), &flags.path);
    assert_eq!(another.set(&under(4), &change("off", "on")).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(another.set(&under(6), &change("on", "red")).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(std::fs::read_to_string(&epochs).unwrap(), r#"{"dev":5}"#, "what failed leaves nothing");
    std::fs::write(&epochs, "{").unwrap();
    let error = another.set(&under(6), &change("off", "on")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.report().contains("flags.json.epochs"), "{}", error.report());
}

#[tokio::test]
async fn what_is_not_defined_yet_is_added_and_what_is_there_stays() {
    let (folder, defined) = flags();
    let path = folder.path().join("live/flags.json");
    let live = FlagFile::new("flags".parse().unwrap(), &path);
    let epoch = |epoch| cx().with_epoch(epoch);
    assert_eq!(live.undefined(&cx(), &defined.path).await.unwrap(), ["banner", "new-checkout"]);
    assert_eq!(live.define(&epoch(5), &defined.path).await.unwrap(), ["banner", "new-checkout"]);
    live.set(&epoch(5), &change("off", "on")).await.unwrap();
    let more = FILE.replace("banner", "poster").replace("\"off\",\n", "\"on\",\n");
    std::fs::write(&defined.path, more).unwrap();
    assert_eq!(live.define(&epoch(4), &defined.path).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(live.define(&epoch(5), &defined.path).await.unwrap(), ["poster"]);
    assert!(live.define(&epoch(5), &defined.path).await.unwrap().is_empty());
    assert_eq!(live.get(&cx(), "new-checkout").await.unwrap(), FlagState::new(true, "on"));
    let found: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(found["flags"].as_object().unwrap().len(), 3);
    assert!(found["$evaluators"].is_object(), "what is beside the flags comes along");

    std::fs::write(&defined.path, "{}").unwrap();
    for flags in [&live, &FlagFile::new("flags".parse().unwrap(), folder.path().join("other.json"))] {
        let report = flags.define(&cx(), &defined.path).await.unwrap_err().report();
        assert!(report.contains("no object `flags`"), "{report}");
    }
    assert!(!folder.path().join("other.json").exists());
}
