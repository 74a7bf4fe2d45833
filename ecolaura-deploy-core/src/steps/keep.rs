//! Keeping the files of a release, so that every environment and every roll-back gets the same bytes.

mod leftovers;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::files;
use crate::{
    Context, Effect, Error, ErrorKind, Result,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    vocabulary::{Digest, Fingerprint},
};

/// Held by whoever copies into the folder.
const LOCK: &str = ".lock";

/// Folders by the digest of their files: the paths below the folder, and the contents.
///
/// ```
/// # async fn example() -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::steps::KeptFolders;
/// let kept = KeptFolders::new("target/kept");
/// let manifests = KeptFolders::digest("app/manifests").await?;
/// println!("kept at {} once `KeepFolder` ran", kept.path(&manifests).display());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct KeptFolders {
    dir: PathBuf,
}

impl KeptFolders {
    /// Those below `dir`, which is made when the first one is kept.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The digest of the files below `folder`. Fails with `NotFound`, and with `InvalidInput` for a symbolic link:
    /// what it points to could differ.
    pub async fn digest(folder: impl Into<PathBuf>) -> Result<Digest> {
        files::folder(folder.into()).await
    }

    /// Where the folder of this digest is, if it is kept.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_hex())
    }

    /// Whether the folder of this digest is kept and whole.
    pub async fn holds(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        Ok(path.is_dir() && Self::digest(path).await? == *digest)
    }

    /// Copies beside the place first: the folder appears whole or not at all. One copy at a time.
    fn copy(&self, from: &Path, digest: &Digest) -> Result<()> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| Error::io("folder.keep", path, error).with_effect(Effect::Partial)
        };
        std::fs::create_dir_all(&self.dir).map_err(failed(&self.dir))?;
        let _copying = self.lock().map_err(failed(&self.dir.join(LOCK)))?;
        let place = self.path(digest);
        let scratch = self.dir.join(format!(".{}-{}", digest.short(), std::process::id()));
        for stale in [&scratch, &place] {
            if stale.exists() {
                std::fs::remove_dir_all(stale).map_err(failed(stale))?;
            }
        }
        copy_folder(from, &scratch)?;
        std::fs::rename(&scratch, &place).map_err(failed(&place))
    }

    /// Waits for the right to copy. It ends with the file, also if the process is killed.
    fn lock(&self) -> std::io::Result<File> {
        let file = File::options().create(true).truncate(false).write(true).open(self.dir.join(LOCK))?;
        file.lock()?;
        Ok(file)
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let failed = |error| Error::io("folder.keep", from, error).with_effect(Effect::Partial);
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(failed)?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            std::fs::copy(&from, &to).map_err(failed)?;
        }
    }
    Ok(())
}

/// Keeps a folder, its input, under its digest, its output. A promotion and a roll-back find it by that digest. What is kept is not removed when a run is undone: nothing refers to it then.
#[derive(Debug, Clone)]
pub struct KeepFolder {
    kept: KeptFolders,
    name: String,
}

impl KeepFolder {
    /// Keeps folders among `kept`; `name` is for plans.
    pub fn new(kept: KeptFolders, name: impl Into<String>) -> Self {
        Self { kept, name: name.into() }
    }

    fn change(&self, action: Action, reason: impl Into<String>) -> Vec<Change> {
        vec![Change::new(World::File, format!("kept {}", self.name), action, reason)]
    }
}

#[async_trait]
impl Step for KeepFolder {
    type Input = PathBuf;
    type Output = Digest;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "keep files"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, _cx: &Context, folder: Planned<PathBuf>) -> Result<StepPlan<Digest>> {
        let folder = match folder {
            Planned::Known(folder) => folder,
            Planned::After(step) => {
                let reason = format!("known after `{step}`");
                return Ok(StepPlan::changing(self.change(Action::Create, reason)));
            }
        };
        let digest = KeptFolders::digest(&folder).await?;
        let plan = if self.kept.holds(&digest).await? {
            StepPlan::unchanged(self.change(Action::NoOp, digest.short()), digest)
        } else {
            // Not known yet: what reads it looks for the folder.
            StepPlan::changing(self.change(Action::Create, digest.short()))
        };
        let fingerprint = Fingerprint::new().digest_part(&self.name, digest);
        Ok(plan.precondition(format!("files of {}", self.name), digest).fingerprint(fingerprint))
    }

    async fn apply(&self, _cx: &Context, folder: PathBuf) -> Result<Applied<Digest, NoUndo>> {
        let digest = KeptFolders::digest(&folder).await?;
        let (kept, from) = (self.kept.clone(), folder.clone());
        tokio::task::spawn_blocking(move || kept.copy(&from, &digest))
            .await
            .map_err(|error| Error::internal("folder.keep", "the copy was lost").with_source(error))??;
        if self.kept.holds(&digest).await? {
            return Ok(Applied::new(digest));
        }
        let message = format!("`{}` changed while it was copied", folder.display());
        Err(Error::new(ErrorKind::Conflict, "folder.keep", message).with_effect(Effect::Partial).advice("run again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kept_folder_is_found_by_its_digest_until_a_byte_differs() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("manifests");
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        std::fs::write(folder.join("sub/a.yaml"), "a").unwrap();
        let kept = KeptFolders::new(dir.path().join("kept"));
        let step = KeepFolder::new(kept.clone(), "manifests");
        let cx = Context::new("dev".parse().unwrap());

        let digest = step.apply(&cx, folder.clone()).await.unwrap().output;
        assert_eq!(std::fs::read(kept.path(&digest).join("sub/a.yaml")).unwrap(), b"a");
        assert_eq!(step.plan(&cx, Planned::Known(folder.clone())).await.unwrap().need, crate::step::Need::Nothing);

        std::fs::write(kept.path(&digest).join("sub/a.yaml"), "b").unwrap();
        assert!(!kept.holds(&digest).await.unwrap());
        assert_eq!(step.apply(&cx, folder.clone()).await.unwrap().output, digest, "and it is mended");
        assert!(kept.holds(&digest).await.unwrap());
    }

    #[tokio::test]
    async fn whoever_goes_on_sees_that_the_folder_is_another_by_now() {
        let dir = tempfile::tempdir().unwrap();
        let step = KeepFolder::new(KeptFolders::new(dir.path().join("kept")), "manifests");
        let folder = dir.path().join("manifests");
        std::fs::create_dir_all(&folder).unwrap();
        let mut seen = Vec::new();
        for content in ["a", "b"] {
            std::fs::write(folder.join("a.yaml"), content).unwrap();
            let plan = step.plan(&Context::new("dev".parse().unwrap()), Planned::Known(folder.clone())).await.unwrap();
            seen.push(plan.fingerprint.unwrap().digest());
        }
        assert_ne!(seen[0], seen[1]);
    }

    #[tokio::test]
    async fn links_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link")).unwrap();
        let error = KeptFolders::digest(dir.path()).await.unwrap_err();
        assert!(error.report().contains("link"), "{}", error.report());
    }
}
