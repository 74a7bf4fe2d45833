//! Somebody who runs `ship` in a folder of their own, and looks at what answers.

use std::{
    collections::BTreeSet,
    fmt,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

#[cfg(any(feature = "aws", feature = "k8s"))]
use ecolaura_deploy_core::testing::servers;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// One call of `ship`.
pub struct Run {
    pub output: String,
    /// None for a process that was killed.
    pub code: Option<i32>,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<&str> = self.output.lines().collect();
        let (before, last) = lines.split_at(lines.len().saturating_sub(60));
        let requests: Vec<&str> = before.iter().filter(|line| line.contains("a request failed")).copied().collect();
        write!(f, "exit {:?}\n{}\n…\n{}", self.code, requests.join("\n"), last.join("\n"))
    }
}

/// The traffic during a run, as it was printed.
#[derive(Debug, Default)]
pub struct Totals {
    pub total: u64,
    pub candidate: u64,
    pub failed: u64,
    pub failed_stable: u64,
    pub failed_after_abort: u64,
}

impl Run {
    pub fn ends_with(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self}");
    }

    pub fn last_lines(&self, number: usize) -> String {
        let lines: Vec<&str> = self.output.lines().collect();
        lines[lines.len().saturating_sub(number)..].join("\n")
    }

    /// Where it aborted as asked: `before` or `after`, and the step.
    pub fn aborted(&self) -> Option<(String, String)> {
        let line = self.output.lines().find_map(|line| line.split_once("ship: aborting "))?.1;
        let (place, step) = line.split_once(' ')?;
        Some((place.to_owned(), step.split_once('/')?.1.split(',').next()?.to_owned()))
    }

    /// `216 requests, 196 to stable, 20 to candidate; 10 failed: 0 from stable, 10 from candidate, 0 after the abort`.
    pub fn totals(&self, environment: &str) -> Totals {
        let lines: Vec<&str> = self.output.lines().collect();
        let of_this =
            |pair: &&[&str]| pair[0].starts_with(&format!("{environment:12}")) && pair[1].contains(" requests, ");
        let pair = lines.windows(2).find(of_this).unwrap_or_else(|| panic!("no totals of {environment}: {self}"));
        let line = pair[1];
        let number = |after: &str| {
            let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || ",;:".contains(c)).collect();
            let text = words.join(" ");
            let before = text.split(after).next().filter(|before| before.len() < text.len())?;
            before.split_whitespace().last()?.parse().ok()
        };
        Totals {
            total: number(" requests").unwrap_or_default(),
            candidate: number(" to candidate").unwrap_or_default(),
            failed: number(" failed").unwrap_or_default(),
            failed_stable: number(" from stable").unwrap_or_default(),
            failed_after_abort: number(" after the abort").unwrap_or_default(),
        }
    }

    /// The steps of `environment` that had nothing to do.
    pub fn unchanged(&self, environment: &str) -> BTreeSet<String> {
        let step = |line: &str| {
            let (step, what) = line.strip_prefix(environment)?.strip_prefix('/')?.split_once(' ')?;
            (what.trim() == "unchanged").then(|| step.to_owned())
        };
        self.output.lines().filter_map(step).collect()
    }

    /// What to write as an answer, and where: `write {…} to `path` and continue the run`.
    pub fn how_to_answer(&self) -> (String, String) {
        let from = self.output.rfind(r#"{"answer""#).unwrap_or_else(|| panic!("no answer is shown: {self}"));
        let (answer, rest) = self.output[from..].split_once("} to `").unwrap();
        (format!("{answer}}}"), rest.split('`').next().unwrap().to_owned())
    }

    pub fn failed_requests(&self, environment: &str) -> u64 {
        self.totals(environment).failed
    }
}

/// A call that goes on.
pub struct Started {
    child: Child,
    log: PathBuf,
}

impl Started {
    /// Nothing, if it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.child.try_wait().unwrap().is_none() {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Until it says `text`, or ends.
    pub fn wait_for(&mut self, text: &str) {
        let began = Instant::now();
        while !self.output().contains(text) && self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_mins(3), "no `{text}` in:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it by `kill -9` after this time, unless it ended before. Whether it was killed.
    pub fn kill_after(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2).min(until.saturating_duration_since(Instant::now())));
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap().code().is_none()
    }

    pub fn wait(mut self) -> Run {
        let code = self.child.wait().unwrap().code();
        Run { output: self.output(), code }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // After a failed test it may still be there.
        if matches!(self.child.try_wait(), Ok(None)) {
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }
}

/// A user and their folder. Everything ends with it, also after a failed test.
pub struct User {
    dir: PathBuf,
    program: PathBuf,
    /// Goes with every call: where services run.
    place: Vec<String>,
    variables: Vec<(&'static str, String)>,
    ended: std::cell::Cell<bool>,
    started: std::cell::Cell<u32>,
}

impl User {
    pub fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ship-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&dir);
        let tests = std::env::current_exe().unwrap();
        let program = tests.ancestors().nth(2).unwrap().join("examples/ship");
        assert!(program.is_file(), "run `cargo build --example ship` first: no {}", program.display());
        let (ended, started) = (std::cell::Cell::default(), std::cell::Cell::default());
        Self { dir, program, place: Vec::new(), variables: Vec::new(), ended, started }
    }

    /// Somebody whose services run on the cluster that the environment names, if it names one with a node.
    #[cfg(feature = "k8s")]
    pub fn on_cluster(name: &str) -> Option<Self> {
        let [kubeconfig, registry, _] =
            servers::all_named(["ECOLAURA_TEST_KUBECONFIG", "ECOLAURA_TEST_REGISTRY", "ECOLAURA_TEST_NODE"])?;
        let mut user = Self::new(name);
        user.place = ["--kubeconfig", &kubeconfig, "--registry", &registry].map(str::to_owned).to_vec();
        Some(user)
    }

    /// Somebody who has an account, which the servers that the environment names play, if it names some.
    #[cfg(feature = "aws")]
    pub fn in_an_account(name: &str) -> Option<Self> {
        let endpoint = servers::named("ECOLAURA_TEST_AWS")?;
        let mut user = Self::new(name);
        user.place = vec!["--aws".to_owned(), user.settings()];
        user.variables = vec![
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "ecolaura".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "a-key-for-tests".to_owned()),
        ];
        Some(user)
    }

    /// What `--aws` names.
    #[cfg(feature = "aws")]
    pub fn settings(&self) -> String {
        self.dir.join("aws.json").display().to_string()
    }

    /// Removes something of the buckets, by its address.
    #[cfg(feature = "aws")]
    pub fn takes_from_the_account(&self, addresses: &[&str]) {
        let endpoint = &self.variables[0].1;
        addresses.iter().for_each(|path| _ = ask(endpoint.strip_prefix("http://").unwrap(), "DELETE", path).unwrap());
    }

    /// Has nothing to end.
    #[cfg(feature = "aws")]
    pub fn has_started_nothing(&self) {
        self.ended.set(true);
        assert_eq!(self.all_processes(|_| true), [0; 0], "nothing runs");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--dir")
            .arg(self.dir.join("ship"))
            .args(&self.place)
            .args(arguments)
            .stdin(Stdio::null())
            .env("NO_COLOR", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A call that is not waited for.
    pub fn start(&self, arguments: &[&str]) -> Started {
        let number = self.started.get();
        self.started.set(number + 1);
        let log = self.dir.join(format!("call-{number}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let errors = file.try_clone().unwrap();
        Started { child: self.command(arguments).stdout(file).stderr(errors).spawn().unwrap(), log }
    }

    pub fn ship(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Run { output: text, code: output.status.code() }
    }

    pub fn path(&self, path: &str) -> String {
        self.dir.join("ship").join(path).display().to_string()
    }

    pub fn exists(&self, path: &str) -> bool {
        self.dir.join("ship").join(path).exists()
    }

    /// A copy of the sample that calls itself `version`.
    fn release(&self, name: &str, version: &str) -> String {
        let copy = self.dir.join(name);
        copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("ecolaura"), &copy);
        std::fs::write(copy.join("VERSION"), format!("{version}\n")).unwrap();
        copy.display().to_string()
    }

    /// A second release with one more migration, which those after it have too.
    pub fn second_release(&self) -> String {
        self.later_release("second", "1.1.0")
    }

    pub fn later_release(&self, name: &str, version: &str) -> String {
        let copy = self.release(name, version);
        let migrations = Path::new(&copy).join("migrations");
        std::fs::write(migrations.join("0004_pots.up.sql"), "CREATE TABLE pots (id INTEGER PRIMARY KEY);\n").unwrap();
        std::fs::write(migrations.join("0004_pots.down.sql"), "DROP TABLE pots;\n").unwrap();
        copy
    }

    /// The names of the steps of `environment`, as `ship` itself lists them.
    pub fn steps(&self, environment: &str) -> Vec<String> {
        let run = self.ship(&["--fail", "nope"]);
        run.output
            .lines()
            .filter_map(|line| Some(line.strip_prefix(environment)?.strip_prefix('/')?.to_owned()))
            .collect()
    }

    fn release_records(&self, environment: &str) -> Vec<Value> {
        let folder = self.dir.join(format!("ship/records/environments/{environment}/releases"));
        let mut records: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        records.sort();
        records.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
    }

    /// The numbers of the releases that were live, oldest first.
    pub fn releases(&self, environment: &str) -> Vec<u64> {
        let records = self.release_records(environment);
        records.iter().map(|record| record["release"]["sequence"].as_u64().unwrap()).collect()
    }

    pub fn newest_release(&self, environment: &str) -> Value {
        self.release_records(environment).pop().unwrap()
    }

    /// The digest of the backend's image that `environment` has.
    pub fn image(&self, environment: &str) -> String {
        self.newest_release(environment)["release"]["images"]["backend"]["digest"].as_str().unwrap().to_owned()
    }

    pub fn token(&self, environment: &str) -> String {
        std::fs::read_to_string(self.dir.join(format!("ship/{environment}/secrets/api-token"))).unwrap()
    }

    /// Where a service answers, from the site's own configuration.
    pub fn address(&self, environment: &str, key: &str) -> String {
        let config = get(&self.site_address(environment), "/config.json");
        let config: Value = serde_json::from_str(&config).unwrap_or_else(|error| panic!("{error}: {config}"));
        config[key].as_str().unwrap().trim_start_matches("http://").to_owned()
    }

    fn site_address(&self, environment: &str) -> String {
        let sites: Value = serde_json::from_slice(&std::fs::read(self.path("sites.json")).unwrap()).unwrap();
        sites["sites"][environment].as_str().unwrap().to_owned()
    }

    pub fn site(&self, environment: &str) -> String {
        get(&self.site_address(environment), "/")
    }

    /// The version that the backend of `environment` tells.
    pub fn version(&self, environment: &str) -> String {
        self.version_of(environment, "api")
    }

    pub fn version_of(&self, environment: &str, key: &str) -> String {
        let answer = get(&self.address(environment, key), "/version");
        let value: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        value["version"].as_str().unwrap().to_owned()
    }

    /// Whether the flag is on, as the backend tells it.
    pub fn flag(&self, environment: &str, flag: &str) -> bool {
        let answer = get(&self.address(environment, "api"), "/api/flags");
        serde_json::from_str::<Value>(&answer).unwrap()[flag] == true
    }

    /// The version of the database's schema, as the backend sees it.
    pub fn schema(&self, environment: &str) -> i64 {
        let answer = get(&self.address(environment, "api"), "/readyz");
        serde_json::from_str::<Value>(&answer).unwrap()["schema"].as_i64().unwrap()
    }

    /// The ids of the processes of the services.
    pub fn processes(&self) -> Vec<u32> {
        self.all_processes(|line| line.contains("ecolaura-backend") || line.contains("ecolaura-notifications"))
    }

    pub fn all_processes(&self, wanted: impl Fn(&str) -> bool) -> Vec<u32> {
        let dir = self.dir.display().to_string();
        let mut found: Vec<u32> = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| {
                let id = entry.file_name().to_str()?.parse().ok()?;
                let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
                let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
                let environment = String::from_utf8_lossy(&read("environ")).into_owned();
                (line.contains(&dir) || environment.contains(&dir)).then_some((id, line))
            })
            .filter(|(_, line)| wanted(line))
            .map(|(id, _)| id)
            .collect();
        found.sort_unstable();
        found
    }

    /// Ends everything, and sees that nothing is left.
    pub fn down(&self) {
        self.ship(&["--down"]).ends_with(0);
        self.ended.set(true);
        self.nothing_runs_any_more();
        self.ship(&["--down"]).ends_with(0);
    }
}

impl User {
    /// A process that was ended has given its locks back a moment before it is gone.
    fn nothing_runs_any_more(&self) {
        const LOOKS: u32 = 250;
        for look in 1..=LOOKS {
            let lines = std::cell::RefCell::new(Vec::new());
            let left = self.all_processes(|line| {
                lines.borrow_mut().push(line.to_owned());
                true
            });
            if left.is_empty() {
                return;
            }
            assert!(look < LOOKS, "still there: {left:?}, {:?}", lines.into_inner());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if !self.ended.get() {
            self.ship(&["--down"]);
        }
        if std::thread::panicking() {
            eprintln!("what was made is in {}", self.dir.display());
        } else {
            _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "target" => {}
            true => copy_folder(&from, &to),
            false => _ = std::fs::copy(&from, &to).unwrap(),
        }
    }
}

fn get(address: &str, path: &str) -> String {
    let answer = try_get(address, path).unwrap_or_else(|error| panic!("{address}: {error}"));
    answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned()).unwrap_or_default()
}

/// The whole answer, its head included.
pub fn try_get(address: &str, path: &str) -> std::io::Result<String> {
    ask(address, "GET", path)
}

fn ask(address: &str, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
