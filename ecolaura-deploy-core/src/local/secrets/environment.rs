//! Secrets in environment variables.

use std::{collections::BTreeMap, ffi::OsString};

use async_trait::async_trait;

use super::check_reference;
use crate::{
    Context, Error, ErrorKind, Result, Secret, SecretRef, backend::SecretStore, redact::Redactor, vocabulary::Name,
};

/// Secrets in the environment variables that begin with a prefix: with `APP_`, the secret `database-password` is in
/// `APP_DATABASE_PASSWORD`. The environment is read once, when the store is made.
///
/// Nothing of a value may enter its version, so the version is what `APP_DATABASE_PASSWORD_VERSION` says, and `env`
/// without that; then a change of the value goes unnoticed by plans.
#[derive(Debug, Clone)]
pub struct EnvSecrets {
    name: Name,
    prefix: String,
    variables: BTreeMap<String, Secret<OsString>>,
    redactor: Option<Redactor>,
}

impl EnvSecrets {
    /// The variables of this process that begin with `prefix`, called `name` in references.
    pub fn new(name: Name, prefix: impl Into<String>) -> Self {
        Self::from_variables(name, prefix, std::env::vars_os())
    }

    /// The same from given variables.
    pub fn from_variables(
        name: Name,
        prefix: impl Into<String>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let prefix = prefix.into();
        let ours = |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, Secret::new(value)));
        let variables = variables.into_iter().filter_map(ours).filter(|(key, _)| key.starts_with(&prefix)).collect();
        Self { name, prefix, variables, redactor: None }
    }

    /// The same, making each value that is handed out known to `redactor` too, beside the context's.
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = Some(redactor);
        self
    }

    fn variable(&self, secret: &str) -> String {
        let upper =
            |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' };
        format!("{}{}", self.prefix, secret.chars().map(upper).collect::<String>())
    }

    fn read(&self, operation: &'static str, secret: &str) -> Result<(Secret<String>, String)> {
        let variable = self.variable(secret);
        let value = self.variables.get(&variable).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, operation, format!("no secret `{secret}`"))
                .advice(format!("set the environment variable `{variable}`"))
        })?;
        let text = value.expose().to_str().filter(|text| !text.is_empty()).ok_or_else(|| {
            Error::invalid(operation, format!("the environment variable `{variable}` is empty or not UTF-8"))
        })?;
        let version = self.variables.get(&format!("{variable}_VERSION"));
        let version = version.and_then(|version| version.expose().to_str()).unwrap_or("env");
        Ok((Secret::new(text.to_owned()), version.to_owned()))
    }
}

#[async_trait]
impl SecretStore for EnvSecrets {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn resolve(&self, cx: &Context, name: &str) -> Result<SecretRef> {
        cx.check("secrets.resolve")?;
        let (_, version) = self.read("secrets.resolve", name)?;
        Ok(SecretRef::new(self.name.clone(), name, version))
    }

    async fn get(&self, cx: &Context, reference: &SecretRef) -> Result<Secret<String>> {
        cx.check("secrets.get")?;
        let (value, version) = self.read("secrets.get", &reference.name)?;
        check_reference(&self.name, reference, &version)?;
        for redactor in self.redactor.iter().chain([cx.redactor()]) {
            redactor.register(&value);
        }
        Ok(value)
    }
}
