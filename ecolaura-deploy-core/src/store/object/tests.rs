use std::{
    fmt,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::stream::BoxStream;

use super::*;
use crate::testing::conformance::run_store::suite;

#[tokio::test]
async fn memory_and_files_conform() {
    suite(async || Arc::new(ObjectRunStore::memory())).await;
    let dir = tempfile::tempdir().unwrap();
    let next = AtomicUsize::new(0);
    suite(async || {
        let number = next.fetch_add(1, Ordering::SeqCst);
        Arc::new(ObjectRunStore::local(dir.path().join(number.to_string())).unwrap())
    })
    .await;
}

#[tokio::test]
async fn a_key_does_not_lead_out_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("outside")).unwrap();
    std::fs::write(dir.path().join("outside/record"), "theirs").unwrap();
    let store = ObjectRunStore::local(dir.path().join("runs")).unwrap();
    store.create("a/1", "ours".into()).await.unwrap();
    for key in ["../outside", "a/../../outside", "/etc", "a//1", "", "a/.", "a\\1", "a\n", "ä"] {
        let errors = [
            store.create(&format!("{key}/record"), "x".into()).await.unwrap_err(),
            store.get(&format!("{key}/record")).await.unwrap_err(),
            store.list(key).await.unwrap_err(),
            store.list_after(key, "").await.unwrap_err(),
            store.names(key).await.unwrap_err(),
            store.remove(&format!("{key}/record")).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::InvalidInput), "{key}: {errors:?}");
    }
    assert_eq!(std::fs::read(dir.path().join("outside/record")).unwrap(), b"theirs");
}

/// Answers the first creates as a store does that is told to create one object twice at the same time.
#[derive(Debug)]
struct Conflicting {
    inner: InMemory,
    left: AtomicUsize,
}

impl fmt::Display for Conflicting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("conflicting")
    }
}

#[async_trait]
impl ObjectStore for Conflicting {
    async fn put_opts(
        &self,
        at: &path::Path,
        body: object_store::PutPayload,
        options: PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(object_store::Error::AlreadyExists { path: at.to_string(), source: "409".into() });
        }
        self.inner.put_opts(at, body, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &path::Path,
        options: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(
        &self,
        at: &path::Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<path::Path>>,
    ) -> BoxStream<'static, object_store::Result<path::Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&path::Path>) -> BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&path::Path>) -> object_store::Result<object_store::ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &path::Path,
        to: &path::Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_to_exist_and_is_not_there_is_tried_again() {
    for (conflicts, created) in [(ATTEMPTS - 1, true), (ATTEMPTS, false)] {
        let conflicting = Conflicting { inner: InMemory::new(), left: conflicts.into() };
        let store = ObjectRunStore::new(Arc::new(conflicting), "test");
        match store.create("a/1", Bytes::from_static(b"one")).await {
            Ok(answer) => assert_eq!((answer, created), (Created::Yes, true)),
            Err(error) => assert_eq!((error.kind(), created), (ErrorKind::Unavailable, false)),
        }
        assert_eq!(store.get("a/1").await.unwrap().is_some(), created);
    }
}

#[tokio::test]
async fn removing_the_last_object_leaves_no_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = ObjectRunStore::local(dir.path()).unwrap();
    store.create("a/b/1", Bytes::from_static(b"one")).await.unwrap();
    store.create("a/c/1", Bytes::from_static(b"one")).await.unwrap();
    store.remove("a/b/1").await.unwrap();
    assert_eq!(store.names("a").await.unwrap(), ["c"]);
    store.remove("a/c/1").await.unwrap();
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_that_come_and_go_disturb_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = ObjectRunStore::local(dir.path()).unwrap();
    let tasks = (0..2).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..150 {
                let key = format!("a/b/c/d/{n}");
                assert_eq!(store.create(&key, Bytes::from(n.to_string())).await.unwrap(), Created::Yes);
                assert_eq!(store.get(&key).await.unwrap(), Some(Bytes::from(n.to_string())));
                store.remove(&key).await.unwrap();
            }
        })
    });
    for ended in futures_util::future::join_all(tasks).await {
        ended.unwrap();
    }
}

/// The mount of a file system, taken away again. `None` where that is not allowed.
struct Mount(tempfile::TempDir);

impl Mount {
    fn tmpfs(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()).output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: this machine lets nobody mount a file system here");
        }
        mounted.then(|| Self(dir))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", options]).arg(self.0.path()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// A file system in a file, whose machine can lose its power. `None` where that is not allowed.
struct Machine {
    image: tempfile::NamedTempFile,
    mount: Mount,
}

impl Machine {
    fn new() -> Option<Self> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(16 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image.path()).output();
        let mount = Mount(tempfile::tempdir().unwrap());
        let machine = Self { image, mount };
        let ready = made.is_ok_and(|output| output.status.success()) && machine.start();
        if !ready {
            println!("skipped: this machine lets nobody mount a file as a disk");
        }
        ready.then_some(machine)
    }

    fn start(&self) -> bool {
        let mount = Command::new("mount").args(["-o", "loop"]).arg(self.image.path()).arg(self.mount.0.path()).status();
        mount.is_ok_and(|status| status.success())
    }

    /// What was not flushed is gone: `EXT4_IOC_SHUTDOWN` with `NOLOGFLUSH`, and mounting again.
    fn lose_power(&self) {
        let script = "import fcntl, os, struct, sys\n\
                      fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        let down = Command::new("python3").args(["-c", script]).arg(self.mount.0.path()).status().unwrap();
        assert!(down.success());
        assert!(Command::new("umount").arg(self.mount.0.path()).status().unwrap().success());
        assert!(self.start());
    }
}

#[tokio::test]
async fn whatever_a_create_answers_survives_a_loss_of_power() {
    let Some(machine) = Machine::new() else { return };
    let root = machine.mount.0.path();
    let store = ObjectRunStore::local(root).unwrap();
    let put = async |key: &str| store.create(key, Bytes::from_static(b"one")).await.unwrap();
    assert_eq!(put("a/b/1").await, Created::Yes);
    let write = |key: &str, content: &str| {
        let path = root.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write("a/b/2", "one");
    write("a/c/3", "another");
    assert_eq!(put("a/b/2").await, Created::Yes, "an earlier try, whose flushing failed");
    assert_eq!(put("a/c/3").await, Created::Exists, "another writer, who died before it flushed");
    write("a/d/4", "one");
    drop(store);
    machine.lose_power();
    let store = ObjectRunStore::local(root).unwrap();
    assert_eq!(store.list("a").await.unwrap(), ["a/b/1", "a/b/2", "a/c/3"], "what nobody was told of may be gone");
    assert_eq!(store.get("a/c/3").await.unwrap().unwrap(), "another");
}

#[tokio::test]
async fn a_full_disk_is_told_before_anything_is_written() {
    let Some(mount) = Mount::tmpfs("size=64k") else { return };
    let store = ObjectRunStore::local(mount.0.path()).unwrap();
    store.create("a/1", Bytes::from_static(b"one")).await.unwrap();
    let error = store.create("a/2", vec![7; 100_000].into()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::LimitExceeded, Effect::None), "{}", error.report());
    assert!(error.report().contains("free some space"), "{}", error.report());
    assert_eq!(store.get("a/2").await.unwrap(), None);
    assert_eq!(store.list("a").await.unwrap(), ["a/1"]);
    store.create("a/3", Bytes::from_static(b"small")).await.unwrap();
}

#[tokio::test]
async fn a_read_only_disk_is_told() {
    let Some(mount) = Mount::tmpfs("size=64k") else { return };
    let store = ObjectRunStore::local(mount.0.path()).unwrap();
    store.create("a/1", Bytes::from_static(b"one")).await.unwrap();
    mount.remount("remount,ro");
    let error = store.create("a/2", Bytes::from_static(b"two")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::PermissionDenied, Effect::None), "{}", error.report());
    assert!(error.report().contains("read-only"), "{}", error.report());
    assert_eq!(store.get("a/1").await.unwrap(), Some(Bytes::from_static(b"one")), "it can be read");
    assert_eq!(store.remove("a/1").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_folder_that_one_may_not_write_to_is_told() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        println!("skipped: root may write everywhere");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = ObjectRunStore::local(dir.path()).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let error = store.create("a/1", Bytes::from_static(b"one")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::PermissionDenied, Effect::None), "{}", error.report());
}
