//! A fake [`SecretStore`].

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use super::fake_name;
use crate::{Context, Error, ErrorKind, Result, Secret, SecretRef, backend::SecretStore, vocabulary::Name};

/// Secrets in memory, versioned by counting.
#[derive(Debug)]
pub struct FakeSecrets {
    name: Name,
    secrets: Mutex<BTreeMap<String, (u64, Secret<String>)>>,
}

impl FakeSecrets {
    /// No secrets.
    pub fn new() -> Self {
        Self { name: fake_name(), secrets: Mutex::default() }
    }

    /// Sets a value, as the next version.
    pub fn put(&self, name: impl Into<String>, value: impl Into<String>) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = secrets.entry(name.into()).or_insert_with(|| (0, Secret::new(String::new())));
        *entry = (entry.0 + 1, Secret::new(value.into()));
    }

    /// Every value that it holds now.
    pub(crate) fn values(&self) -> Vec<String> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.values().map(|(_, value)| value.expose().clone()).collect()
    }

    fn read(&self, operation: &'static str, name: &str) -> Result<(String, Secret<String>)> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let found = secrets.get(name).map(|(version, value)| (version.to_string(), value.clone()));
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, operation, format!("no secret `{name}`")))
    }
}

impl Default for FakeSecrets {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl SecretStore for FakeSecrets {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn resolve(&self, cx: &Context, name: &str) -> Result<SecretRef> {
        cx.check("secrets.resolve")?;
        let (version, _) = self.read("secrets.resolve", name)?;
        Ok(SecretRef::new(self.name.clone(), name, version))
    }

    async fn get(&self, cx: &Context, reference: &SecretRef) -> Result<Secret<String>> {
        cx.check("secrets.get")?;
        let (version, value) = self.read("secrets.get", &reference.name)?;
        if version == reference.version {
            cx.redactor().register(&value);
            return Ok(value);
        }
        let message = format!("the version of `{}` is now {version}, not {}", reference.name, reference.version);
        Err(Error::new(ErrorKind::Conflict, "secrets.get", message))
    }
}
