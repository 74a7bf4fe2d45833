//! What a process is told from outside, handed in so that tests can say something else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Where a pod's own account is.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const READ: [&str; 8] = [
    "KUBECONFIG",
    "HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
];

#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    variables: BTreeMap<String, String>,
    /// Where the account of the pod is that this process runs in.
    pub(super) account: PathBuf,
}

impl Surroundings {
    pub(super) fn of_process() -> Self {
        let read = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        Self { variables: READ.into_iter().filter_map(read).collect(), account: PathBuf::from(ACCOUNT) }
    }

    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)], account: &Path) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { variables, account: account.to_owned() }
    }

    /// The first of these variables that is set and not empty.
    pub(super) fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.variables.get(*name)).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The kubeconfig files of this process: those of `KUBECONFIG`, else the one in the home folder.
    pub(super) fn kubeconfigs(&self) -> Vec<PathBuf> {
        let listed: Vec<PathBuf> = self
            .get(&["KUBECONFIG"])
            .map(|list| std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect())
            .unwrap_or_default();
        if !listed.is_empty() {
            return listed;
        }
        self.get(&["HOME"]).map(|home| Path::new(home).join(".kube/config")).into_iter().collect()
    }
}
