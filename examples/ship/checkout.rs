//! A copy of the sample to build from. Cargo tells what to build again by times, which says nothing between two copies
//! of a source (`--app`): here a file gets a new time exactly if its content differs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, Result,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
};

/// What is made of the sample, and not part of it.
const MADE: [&str; 3] = ["target", "dist", ".git"];

/// Contents by path below a folder.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Brings the folder to build from to what the sample is.
#[derive(Debug, Clone)]
pub struct CheckOut {
    from: PathBuf,
    to: PathBuf,
}

impl CheckOut {
    /// Copies `from` to `to`.
    pub fn new(from: PathBuf, to: PathBuf) -> Self {
        Self { from, to }
    }

    /// What to write, and what to take away.
    fn differences(&self) -> Result<(Files, Vec<PathBuf>)> {
        let wanted = read(&self.from)?;
        let present = if self.to.exists() { read(&self.to)? } else { Files::new() };
        let gone = present.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
        Ok((wanted.into_iter().filter(|(path, content)| present.get(path) != Some(content)).collect(), gone))
    }
}

fn read(root: &Path) -> Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |error| Error::io("source.read", &folder, error);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if MADE.iter().any(|made| entry.file_name() == *made) {
                continue;
            }
            let path = entry.path();
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_symlink() {
                // What it leads to may be anybody's, and would be built and served.
                let message = format!("`{}` is a symbolic link, and only files and folders are copied", path.display());
                return Err(Error::invalid("source.read", message).advice("put there what it leads to, or remove it"));
            }
            if kind.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).map_err(|error| Error::io("source.read", &path, error))?;
                files.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), content);
            }
        }
    }
    Ok(files)
}

#[async_trait]
impl Step for CheckOut {
    type Input = ();
    type Output = ();
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "check out"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, _cx: &Context, _input: Planned<()>) -> Result<StepPlan<()>> {
        let (new, gone) = self.differences()?;
        let object = "source to build from";
        if new.is_empty() && gone.is_empty() {
            return Ok(StepPlan::unchanged(vec![Change::unchanged(World::File, object)], ()));
        }
        let reason = format!("{} files differ", new.len() + gone.len());
        Ok(StepPlan::changing(vec![Change::new(World::File, object, Action::Update, reason)]))
    }

    async fn apply(&self, _cx: &Context, _input: ()) -> Result<Applied<(), NoUndo>> {
        let (new, gone) = self.differences()?;
        for (path, content) in new {
            let path = self.to.join(path);
            let failed = |error| Error::io("source.write", &path, error);
            std::fs::create_dir_all(path.parent().unwrap_or(&self.to)).map_err(failed)?;
            std::fs::write(&path, content).map_err(failed)?;
        }
        for path in gone {
            let path = self.to.join(path);
            std::fs::remove_file(&path).map_err(|error| Error::io("source.write", &path, error))?;
        }
        Ok(Applied::new(()))
    }
}
