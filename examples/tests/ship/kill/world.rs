//! A platform in `dev` on which releases come and go, and what must be true of it between them.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::traffic::Traffic;
use crate::user::{Run, Started, User};

/// The first release, which all cases begin with. The others have one more migration.
pub const OLD: &str = "1.0.0";

/// A release that can be shipped.
#[derive(Debug, Clone)]
pub struct App {
    pub version: String,
    pub folder: String,
}

pub struct World {
    pub user: User,
    pub traffic: Traffic,
    apps: Cell<u32>,
}

impl World {
    /// With the first release live.
    pub fn new(name: &str) -> Self {
        let user = User::new(name);
        let run = user.ship(&["--yes", "--env", "dev", "--keep"]);
        // A second time if the services were slower than their checks: that is not what is tested here.
        if run.code != Some(0) {
            user.ship(&["--yes", "--env", "dev", "--keep"]).ends_with(0);
        }
        let traffic = Traffic::at(user.address("dev", "api"));
        Self { user, traffic, apps: Cell::new(0) }
    }

    /// A release that was never built.
    pub fn app(&self) -> App {
        let number = self.apps.get() + 1;
        self.apps.set(number);
        let version = format!("1.{number}.0");
        let folder = self.user.later_release(&version, &version);
        let page = Path::new(&folder).join("web/src/index.html");
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.contains("has a story."));
        fs::write(&page, text.replace("has a story.", &format!("has a story ({version})."))).unwrap();
        App { version, folder }
    }

    fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["--yes", "--env", "dev", "--keep"], more].concat()
    }

    pub fn ship(&self, arguments: &[&str]) -> Run {
        self.user.ship(&Self::arguments(arguments))
    }

    pub fn start(&self, arguments: &[&str]) -> Started {
        self.user.start(&Self::arguments(arguments))
    }

    /// Goes back to the first release, whatever is there.
    pub fn to_old(&self) {
        for _ in 0..5 {
            if !self.is_open() && self.user.version("dev") == OLD {
                break;
            }
            self.ship(&["--rollback"]);
        }
        self.switch_flag_off();
        self.traffic.failures();
        assert_eq!(self.user.version("dev"), OLD, "cases begin with the first release");
    }

    /// As if somebody had, so that the next release switches it on.
    fn switch_flag_off(&self) {
        let path = self.user.path("dev/flags.json");
        let mut flags: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        flags["flags"]["plant-notes"]["defaultVariant"] = "off".into();
        fs::write(format!("{path}.new"), flags.to_string()).unwrap();
        fs::rename(format!("{path}.new"), path).unwrap();
    }

    pub fn is_open(&self) -> bool {
        let run = self.ship(&["--resume", "--plan"]);
        run.output.contains("was left open")
    }

    /// All of `version` is there, and nothing else.
    pub fn stands(&self, version: &str) {
        assert!(!self.is_open(), "no run is open");
        assert_eq!(self.user.version("dev"), version);
        assert_eq!(self.user.version_of("dev", "notifications"), version);
        let new = version != OLD;
        assert_eq!(self.user.schema("dev"), if new { 4 } else { 3 }, "the schema of {version}");
        let page = self.user.site("dev");
        let wanted = if new { format!("has a story ({version}).") } else { "has a story.".to_owned() };
        assert!(page.contains(&wanted), "the site of {version}");
        assert_eq!(self.user.flag("dev", "plant-notes"), new, "the flag of {version}");
        self.no_orphans();
        self.nothing_failed();
    }

    /// A release that is finished leaves nothing to do.
    pub fn is_done(&self, app: &App) {
        let run = self.ship(&["--app", &app.folder]);
        run.ends_with(0);
        assert!(run.output.contains("nothing to do"), "{run}");
    }

    pub fn nothing_failed(&self) {
        let failures = self.traffic.failures();
        assert!(failures.is_empty(), "requests failed: {failures:?}");
    }

    /// Three pods, the agent, the sites' server. What a killed process left behind may take a moment to end.
    fn no_orphans(&self) {
        let began = Instant::now();
        loop {
            let (pods, all) = (self.user.processes(), self.user.all_processes(|_| true));
            if (pods.len(), all.len()) == (3, 5) {
                return;
            }
            assert!(began.elapsed() < Duration::from_mins(1), "pods {pods:?}, all {all:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The runs of `dev`, oldest first, with their records.
    pub fn runs(&self) -> Vec<(String, Vec<Value>)> {
        // A record that was being written when its process was killed has no place yet.
        let has_place = |path: &PathBuf| !path.to_string_lossy().contains('#');
        let sorted = |folder: &Path| -> Vec<PathBuf> {
            let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let mut paths: Vec<PathBuf> = paths.filter(has_place).collect();
            paths.sort();
            paths
        };
        let read = |path: PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        sorted(Path::new(&self.user.path("records/environments/dev/runs")))
            .into_iter()
            .map(|run| (run.file_name().unwrap().display().to_string(), sorted(&run).into_iter().map(read).collect()))
            .collect()
    }
}
