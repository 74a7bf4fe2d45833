//! From a template to what one process starts with.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{EnvValue, PodTemplate};
use crate::{Secret, cluster::expand::expand};

impl PodTemplate {
    /// The secret values of its environment, for a redactor.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = Secret<String>> + '_ {
        self.env.iter().filter_map(|variable| match &variable.value {
            EnvValue::Secret(secret) => Some(Secret::new(secret.value.clone())),
            _ => None,
        })
    }

    /// What the pod's process gets: `$(VAR)` expanded as Kubernetes does it, and `PORT` (the first port) and
    /// `POD_IP` added unless the manifest sets them.
    pub(crate) fn resolve(&self, pod: &PodFacts) -> ProcessInput {
        let mut env: Vec<(String, String)> = vec![("POD_IP".to_owned(), pod.ip.clone())];
        if let Some(port) = self.ports.first() {
            env.push(("PORT".to_owned(), port.number.to_string()));
        }
        for variable in &self.env {
            let value = variable.value.resolve(pod, &env);
            env.retain(|(name, _)| *name != variable.name);
            env.push((variable.name.clone(), value));
        }
        let words = |words: &Option<Vec<String>>| words.as_ref().map(|words| expand_all(words, &env));
        ProcessInput { command: words(&self.command), args: words(&self.args), env }
    }
}

impl EnvValue {
    fn resolve(&self, pod: &PodFacts, before: &[(String, String)]) -> String {
        match self {
            Self::Template(text) => expand(text, |name| lookup(before, name)),
            Self::Literal(text) => text.clone(),
            Self::Secret(secret) => secret.value.clone(),
            Self::PodIp => pod.ip.clone(),
            Self::PodName => pod.name.clone(),
            Self::Namespace => pod.namespace.clone(),
        }
    }
}

fn expand_all(words: &[String], env: &[(String, String)]) -> Vec<String> {
    words.iter().map(|word| expand(word, |name| lookup(env, name))).collect()
}

fn lookup(env: &[(String, String)], name: &str) -> Option<String> {
    env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

/// What is known of a pod when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodFacts {
    /// Its own loopback address.
    pub(crate) ip: String,
    /// Its name.
    pub(crate) name: String,
    /// Its namespace.
    pub(crate) namespace: String,
}

/// What a process starts with. Values may be secret: `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProcessInput {
    /// In place of the image's entrypoint.
    pub(crate) command: Option<Vec<String>>,
    /// In place of the image's command.
    pub(crate) args: Option<Vec<String>>,
    /// On top of the image's environment; each name once.
    pub(crate) env: Vec<(String, String)>,
}

impl fmt::Debug for ProcessInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("ProcessInput").field("env", &names).finish_non_exhaustive()
    }
}
