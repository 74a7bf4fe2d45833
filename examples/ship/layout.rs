//! Where everything is. All of it is below one folder.

use std::path::{Path, PathBuf};

use ecolaura_deploy_core::{Error, Result, vocabulary::EnvironmentName};

use super::options::Options;

/// The folders and files of a shipped platform.
///
/// ```text
/// source/              the sample, as it is built     build/  what cargo makes of it
/// images/              built images          registry/   pushed images
/// kept/HEX/            manifests, site and migrations of releases, by digest
/// records/             runs, releases, evidence
/// cluster/             the agent's folder
/// ENV/                 database, backups, flags, secrets and site of an environment
/// report.html
/// ```
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    app: PathBuf,
}

impl Layout {
    /// The folders that `options` ask for. The folder is made; the sample must be there.
    pub fn new(options: &Options) -> Result<Self> {
        let root = options.dir.clone().unwrap_or_else(|| ecolaura_deploy_examples::build_dir().join("ship"));
        std::fs::create_dir_all(&root).map_err(|error| Error::io("ship.dir", &root, error))?;
        let root = root.canonicalize().map_err(|error| Error::io("ship.dir", &root, error))?;
        let app = options.app.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("ecolaura"));
        let app = app
            .canonicalize()
            .map_err(|error| Error::io("ship.app", &app, error).advice("--app names a copy of examples/ecolaura"))?;
        Ok(Self { root, app })
    }

    /// The folder that holds everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `path` in the folder that holds everything.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// `path` in the sample platform.
    pub fn app(&self, path: impl AsRef<Path>) -> PathBuf {
        self.app.join(path)
    }

    /// `path` in the folder of `environment`.
    pub fn of(&self, environment: &EnvironmentName, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(environment.as_str()).join(path)
    }
}
