//! Which parts of an account the platform has. `ship --aws FILE --prepare` writes such a file.

use std::{collections::BTreeMap, path::Path};

use ecolaura_deploy_core::{Error, ErrorKind, Result, analysis::scan::AllowEntry, vocabulary::EnvironmentName};
use serde::{Deserialize, Serialize};

use crate::ship::options::ENVIRONMENTS;

const OPERATION: &str = "ship.aws";

/// The account, and what of it is for this platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The number of the account.
    pub account: String,
    pub region: String,
    /// The bucket of the records of runs.
    pub records: String,
    /// The EKS cluster that runs the services; without it they run here, or where `--kubeconfig` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    pub environments: BTreeMap<EnvironmentName, Place>,
    /// Weaknesses of images that are let pass for a time.
    #[serde(default)]
    pub tolerate: Vec<AllowEntry>,
}

/// What one environment has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The bucket of the site.
    pub bucket: String,
    /// The id of the distribution that shows it.
    pub distribution: String,
    /// Where people see it. Without it, this machine shows what is in the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What the names of its secrets begin with.
    pub secrets: String,
}

impl Place {
    /// The secret that the backend's administrators know.
    pub fn token(&self) -> String {
        format!("{}/api-token", self.secrets)
    }
}

impl Settings {
    /// Names for a platform that has nothing in `account` yet.
    pub fn new(account: &str, region: &str) -> Result<Self> {
        let place = |environment: &&str| -> Result<(EnvironmentName, Place)> {
            let place = Place {
                bucket: format!("ecolaura-{account}-{environment}-site"),
                distribution: String::new(),
                address: None,
                secrets: format!("ecolaura/{environment}"),
            };
            Ok((environment.parse()?, place))
        };
        Ok(Self {
            account: account.to_owned(),
            region: region.to_owned(),
            records: format!("ecolaura-{account}-deploys"),
            cluster: None,
            environments: ENVIRONMENTS.iter().map(place).collect::<Result<_>>()?,
            tolerate: Vec::new(),
        })
    }

    /// Reads `file`, whether it is complete or not. Fails with `InvalidInput` naming the place in it.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|error| {
            Error::io(OPERATION, file, error).advice(format!("`--aws {} --prepare` makes it", file.display()))
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::invalid(OPERATION, format!("`{}`: {error}", file.display())))
    }

    /// Reads `file`, and fails with `InvalidInput` naming all that it lacks.
    pub fn read_complete(file: &Path) -> Result<Self> {
        let settings = Self::read(file)?;
        let known = |name: &&str| settings.environments.keys().any(|known| known.as_str() == *name);
        let missing = ENVIRONMENTS.into_iter().filter(|name| !known(name));
        let mut problems: Vec<String> = missing.map(|name| format!("`environments` has no `{name}`")).collect();
        let places = settings.environments.iter().filter(|(_, place)| place.distribution.is_empty());
        problems.extend(places.map(|(name, _)| format!("`{name}` has no distribution")));
        if problems.is_empty() {
            return Ok(settings);
        }
        Err(Error::invalid(OPERATION, format!("`{}`: {}", file.display(), problems.join(", ")))
            .advice("`--prepare` makes a distribution; an environment needs a bucket and a beginning of secrets"))
    }

    /// Writes `file` whole, or leaves it as it is.
    pub fn write(&self, file: &Path) -> Result<()> {
        let failed = |error: std::io::Error| Error::io(OPERATION, file, error);
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::internal(OPERATION, "settings cannot be written").with_source(error))?;
        text.push(b'\n');
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let scratch = file.with_extension("json.new");
        std::fs::write(&scratch, text).and_then(|()| std::fs::rename(&scratch, file)).map_err(failed)
    }

    /// What `environment` has.
    pub fn place(&self, environment: &EnvironmentName) -> Result<&Place> {
        self.environments.get(environment).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                OPERATION,
                format!("there is no environment `{environment}` in the account"),
            )
        })
    }
}
