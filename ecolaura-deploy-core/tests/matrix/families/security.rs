//! S: hostile input is refused by name and touches nothing outside, and no secret comes to light.
#![expect(clippy::unwrap_used, reason = "files of a temporary folder, and literals that follow the grammar")]

mod archives;
mod arguments;
mod canaries;
mod identifiers;
mod paths;

use std::{collections::BTreeMap, fmt::Debug, fs, path::PathBuf};

use ecolaura_deploy_core::{Context, Error};

#[cfg(not(all(feature = "local", feature = "sqlite", feature = "html")))]
use super::left_out;
use super::{Cell, Scene, Verdict, senseless};

pub(super) fn all() -> Vec<Cell> {
    let mut plans = paths::all();
    plans.extend(arguments::all());
    plans.extend(archives::all());
    plans.extend(identifiers::all());
    plans.extend(canaries::all());
    let configs =
        ["exec-plugin", "auth-provider", "skip-tls-verify", "foreign-certificate", "token-file", "unknown-context"];
    let why = "nothing here reads a kubeconfig; it comes with the Kubernetes crate";
    plans.extend(configs.map(|name| senseless("S", format!("kubeconfig/{name}"), why)));
    plans
}

type Sprung = Result<(), String>;

fn trap(name: impl Into<String>, spring: impl Fn() -> Sprung + Send + Sync + 'static) -> Cell {
    let play = move || Verdict::of(spring().err().into_iter().collect(), None);
    Cell::Scene(Scene::new("S", name.into(), play))
}

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Fails unless `result` is an error that says each of `names`.
fn refused<T: Debug>(result: Result<T, impl Into<Error>>, names: &[&str]) -> Sprung {
    let report = match result {
        Ok(taken) => return Err(format!("it was taken: {taken:?}")),
        Err(error) => error.into().report(),
    };
    match names.iter().find(|name| !report.contains(**name)) {
        Some(name) => Err(format!("`{name}` is not named: {report}")),
        None => Ok(()),
    }
}

/// A folder to work in, with another one beside it that nobody may touch or show.
struct Yard(tempfile::TempDir);

/// What stands in the files outside.
const THEIRS: &str = "theirs-4d1f2c9a";

impl Yard {
    fn new() -> Self {
        let yard = Self(tempfile::tempdir().unwrap());
        for path in ["outside/secret", "outside/folder/deep", "inside/index.html"] {
            let path = yard.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, THEIRS).unwrap();
        }
        yard
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn inside(&self) -> PathBuf {
        self.path("inside")
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.inside().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.inside().join(path)).unwrap();
    }

    fn pipe(&self, path: &str) {
        assert!(std::process::Command::new("mkfifo").arg(self.inside().join(path)).status().unwrap().success());
    }

    /// Fails if anything outside, or right beside both folders, is not as it was.
    fn untouched(&self) -> Sprung {
        let mut found = BTreeMap::new();
        let mut left = vec![self.0.path().to_owned()];
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() && path != self.inside() {
                    left.push(path);
                } else if path != self.inside() {
                    found.insert(path.clone(), fs::read_to_string(path).unwrap_or_default());
                }
            }
        }
        let expected = ["outside/secret", "outside/folder/deep"].map(|path| (self.path(path), THEIRS.to_owned()));
        if found == BTreeMap::from(expected) { Ok(()) } else { Err(format!("outside there is now {found:?}")) }
    }
}
