//! Reads ordinary Kubernetes manifests, with the strictness of an API server: a misspelt field is an error, a field that
//! has no effect here is a warning, and all of them are told at once, each with its file, document, line and path.

mod check;
mod config;
mod container;
mod deployment;
mod env;
mod objects;
mod probe;
mod schema;
mod service;

use std::collections::{BTreeMap, BTreeSet};
#[cfg(feature = "local")]
use std::sync::Arc;

use self::{config::Configs, deployment::Deployment, objects::Objects};
use super::desired::Desired;
#[cfg(feature = "local")]
use crate::{Context, ErrorKind, backend::SecretStore};
use crate::{
    Error, Result, Secret, SecretRef,
    backend::Workload,
    manifest::{Notes, load, suggestion},
    redact::Redactor,
};

/// What the manifests of a workload ask for.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) desired: Desired,
    /// Fields without effect here, and other things to read before saying yes.
    pub(crate) warnings: Vec<String>,
}

impl Reading {
    /// Makes the secrets that pods get known to `redactor`.
    pub(crate) fn register_secrets(&self, redactor: &Redactor) {
        let secrets = self.desired.services.iter().flat_map(|service| service.template.secrets());
        secrets.for_each(|secret| _ = redactor.register(&secret));
    }
}

/// What is needed beside an object to understand it.
#[derive(Debug)]
struct Surroundings<'a> {
    workload: &'a Workload,
    configs: Configs,
    salt: &'a [u8],
    /// The names of the Services.
    services: BTreeSet<&'a str>,
}

/// The values behind [`Workload::secrets`], by the same paths.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values(pub(crate) BTreeMap<String, Secret<String>>);

impl Values {
    /// What `references` say, instead of what is behind them: for fakes, which have no store.
    #[cfg(feature = "test-util")]
    pub(crate) fn named(references: &BTreeMap<String, SecretRef>) -> Self {
        let value = |reference: &SecretRef| Secret::new(reference.to_string());
        Self(references.iter().map(|(path, reference)| (path.clone(), value(reference))).collect())
    }

    /// What is behind `references`, each read from the store that it names.
    #[cfg(feature = "local")]
    pub(crate) async fn read(
        cx: &Context,
        stores: &[Arc<dyn SecretStore>],
        references: &BTreeMap<String, SecretRef>,
    ) -> Result<Self> {
        let mut values = Self::default();
        for (path, reference) in references {
            let Some(store) = stores.iter().find(|store| *store.name() == reference.store) else {
                let message = format!("the secret `{path}` is in the store `{}`, which is not known", reference.store);
                return Err(Error::new(ErrorKind::NotFound, "cluster.secrets", message)
                    .advice("tell the cluster of the store when it is made"));
            };
            values.0.insert(path.clone(), store.get(cx, reference).await?);
        }
        Ok(values)
    }
}

/// Reads `workload` with `values` for its secrets. `salt` goes into the marks of secrets, which can be compared only under one salt; it should be
/// random and kept beside what was applied. Fails with `InvalidInput` holding every problem, `NotFound` and the like
/// for a file that cannot be read, `LimitExceeded`.
pub(crate) async fn read(workload: &Workload, values: Values, salt: &[u8]) -> Result<Reading> {
    let (workload, salt) = (workload.clone(), salt.to_vec());
    tokio::task::spawn_blocking(move || read_now(&workload, &values, &salt))
        .await
        .map_err(|error| Error::internal("cluster.read", "reading ended early").with_source(error))?
}

fn read_now(workload: &Workload, values: &Values, salt: &[u8]) -> Result<Reading> {
    let notes = Notes::default();
    let loaded = load(&workload.manifests, &notes)?;
    let objects = Objects::sort(&loaded, workload, &notes);
    let configs = Configs::read(&objects, workload, values, &notes);
    let services = objects.services.iter().map(|field| field.origin.name.as_str()).collect();
    let surroundings = Surroundings { workload, configs, salt, services };
    let mut deployments: Vec<_> =
        objects.deployments.iter().map(|field| Deployment::read(field, &surroundings)).collect();
    for field in &objects.services {
        service::attach(field, &mut deployments);
    }
    if objects.deployments.is_empty() && !notes.has_problems() {
        notes.problem("the manifests hold no Deployment, expected at least one".to_owned());
    }
    images(workload, &deployments, &notes);
    let services = deployments.into_iter().filter_map(Deployment::finish).collect();
    Ok(Reading { desired: Desired::new(workload.namespace.clone(), services), warnings: notes.finish()? })
}

fn images(workload: &Workload, deployments: &[Deployment<'_>], notes: &Notes) {
    let named: BTreeSet<&str> = deployments.iter().filter_map(|deployment| deployment.repository.as_deref()).collect();
    for repository in workload.images.keys().filter(|repository| !named.contains(repository.as_str())) {
        let near = suggestion(repository, named.iter().copied());
        notes.warning(format!("the image `{repository}` is given and no container names it{near}"));
    }
}

#[cfg(test)]
mod tests;
