//! Secrets Manager as a store of secrets.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use aws_sdk_secretsmanager::{
    Client,
    operation::{get_secret_value::GetSecretValueOutput, put_secret_value::PutSecretValueError},
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result, Secret, SecretRef, backend::SecretStore, vocabulary::Name,
};
use serde_json::Value;

use crate::{Account, Scope, access::Grant, key};

const CURRENT: &str = "AWSCURRENT";

/// Secrets of an account. A secret is named as AWS names it, or by its ARN; `name#field` is a field of one that holds a
/// JSON object.
///
/// A reference names a version. What it gives is read once in a run. A version that was rotated away since is
/// [`ErrorKind::Conflict`], so that no release goes out with a password that is going to end, unless
/// [`allow_rotated`](SecretsManager::allow_rotated) says otherwise.
pub struct SecretsManager {
    name: Name,
    account: Account,
    client: Client,
    stage: String,
    rotated: bool,
    read: Mutex<Read>,
}

/// What a run has read.
#[derive(Default)]
struct Read {
    run: String,
    values: HashMap<SecretRef, Secret<String>>,
}

impl SecretsManager {
    /// The secrets of `account`, called `name` in references.
    pub fn new(name: Name, account: &Account) -> Self {
        let client = Client::new(account.sdk_config());
        let (account, stage) = (account.clone(), CURRENT.to_owned());
        Self { name, account, client, stage, rotated: false, read: Mutex::default() }
    }

    /// The same, resolving names to the version at this stage (`AWSPENDING`, a label of your own), and putting there.
    pub fn stage(self, stage: impl Into<String>) -> Self {
        Self { stage: stage.into(), ..self }
    }

    /// Gives also versions that have left the stage, with a warning, as long as AWS keeps them: for secrets whose older
    /// versions go on being good, and for references that name a version on purpose.
    pub fn allow_rotated(self) -> Self {
        Self { rotated: true, ..self }
    }

    /// What reading `name` takes.
    pub fn reading(scope: &Scope, name: &str) -> Grant {
        let actions = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"];
        Grant::new(actions, [resource(scope, name)])
    }

    /// What [`put`](SecretsManager::put) of `name` takes.
    pub fn putting(scope: &Scope, name: &str) -> Grant {
        let actions = ["secretsmanager:CreateSecret", "secretsmanager:PutSecretValue"];
        Grant::new(actions, [resource(scope, name)])
    }

    /// Puts `value` as a new version of `name` and moves the stage there. The secret is made if it is not there.
    ///
    /// Idempotent within a step of a run: however often it is asked, and also if an answer is lost, there is one new
    /// version. A cancel leaves either that or nothing. Fails with [`ErrorKind::AlreadyExists`] if the same step has
    /// put another value already, and with [`ErrorKind::InvalidInput`] for a field: secrets are put as a whole.
    pub async fn put(&self, cx: &Context, name: &str, value: &Secret<String>) -> Result<SecretRef> {
        const OPERATION: &str = "secrets.put";
        cx.redactor().register(value);
        if name.contains('#') {
            return Err(Error::invalid(OPERATION, format!("`{name}` is a field of a secret"))
                .advice("put the whole secret, without `#` in its name"));
        }
        // It says nothing of the value.
        let version = key::of_effect(cx, name).to_hex();
        let resource = resource(&self.account.scope(cx).await?, name);
        let call = self.account.writes((cx, OPERATION), "secretsmanager:PutSecretValue", &resource);
        let request = self.client.put_secret_value().secret_id(name).secret_string(value.expose());
        let request = request.client_request_token(&version).version_stages(&self.stage);
        let missing = PutSecretValueError::is_resource_not_found_exception;
        let put = call.unless(missing, request.send()).await.map_err(|error| put_already(error, name))?;
        if put.is_none() {
            self.create(cx, name, value, &version, &resource).await?;
        }
        Ok(SecretRef::new(self.name.clone(), name, version))
    }

    async fn create(
        &self,
        cx: &Context,
        name: &str,
        value: &Secret<String>,
        version: &str,
        resource: &str,
    ) -> Result<()> {
        if self.stage != CURRENT {
            let message = format!("there is no secret `{name}`, and a new one begins at {CURRENT}, not {}", self.stage);
            return Err(Error::new(ErrorKind::NotFound, "secrets.put", message).advice("put its first version there"));
        }
        let call = self.account.writes((cx, "secrets.put"), "secretsmanager:CreateSecret", resource);
        let request = self.client.create_secret().name(name).secret_string(value.expose());
        call.send(request.client_request_token(version).send()).await?;
        Ok(())
    }

    /// The version that is at the stage.
    async fn present(&self, cx: &Context, operation: &'static str, name: &str) -> Result<String> {
        let (secret, _) = split(name);
        let resource = resource(&self.account.scope(cx).await?, secret);
        let call = self.account.reads((cx, operation), "secretsmanager:DescribeSecret", resource);
        let found = call.send(self.client.describe_secret().secret_id(secret).send()).await?;
        if found.deleted_date().is_some() {
            return Err(Error::new(ErrorKind::NotFound, operation, format!("the secret `{secret}` was deleted"))
                .advice("`aws secretsmanager restore-secret` brings it back"));
        }
        let mut versions = found.version_ids_to_stages().into_iter().flatten();
        let at = versions.find(|(_, stages)| stages.contains(&self.stage)).map(|(version, _)| version.clone());
        at.ok_or_else(|| {
            let message = format!("no version of the secret `{secret}` is at {}", self.stage);
            Error::new(ErrorKind::NotFound, operation, message)
        })
    }

    async fn ask(&self, cx: &Context, reference: &SecretRef) -> Result<Secret<String>> {
        const OPERATION: &str = "secrets.get";
        let (secret, field) = split(&reference.name);
        let resource = resource(&self.account.scope(cx).await?, secret);
        let call = self.account.reads((cx, OPERATION), "secretsmanager:GetSecretValue", resource);
        let request = self.client.get_secret_value().secret_id(secret).version_id(&reference.version);
        let found = match call.attempt(request.send()).await? {
            Ok(found) => found,
            Err(error) => {
                // AWS says the same of a version and of a secret that is not there; of the first it knows another one.
                let code = error.as_service_error().and_then(|error| error.code());
                let gone = matches!(code, Some("ResourceNotFoundException" | "InvalidParameterException"));
                if gone {
                    let present = self.present(cx, OPERATION, secret).await?;
                    return Err(rotated(reference, &present));
                }
                return Err(call.failed(&error));
            }
        };
        if !found.version_stages().contains(&self.stage) {
            let warning = format!("`{reference}` is not at {} any more: it was rotated", self.stage);
            if !self.rotated {
                let present = self.present(cx, OPERATION, secret).await?;
                return Err(rotated(reference, &present));
            }
            cx.warn(warning);
        }
        value(found, &reference.name, field)
    }

    fn known(&self, cx: &Context, reference: &SecretRef) -> Option<Secret<String>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.run != cx.run_id() {
            *read = Read { run: cx.run_id().to_owned(), ..Read::default() };
        }
        read.values.get(reference).cloned()
    }
}

#[async_trait]
impl SecretStore for SecretsManager {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn resolve(&self, cx: &Context, name: &str) -> Result<SecretRef> {
        let version = self.present(cx, "secrets.resolve", name).await?;
        Ok(SecretRef::new(self.name.clone(), name, version))
    }

    async fn get(&self, cx: &Context, reference: &SecretRef) -> Result<Secret<String>> {
        if reference.store != self.name {
            let message = format!("`{reference}` is a secret of another store than `{}`", self.name);
            return Err(Error::new(ErrorKind::NotFound, "secrets.get", message));
        }
        let known = self.known(cx, reference);
        let value = match known {
            Some(value) => value,
            None => self.ask(cx, reference).await?,
        };
        cx.redactor().register(&value);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.run == cx.run_id() {
            read.values.insert(reference.clone(), value.clone());
        }
        Ok(value)
    }
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsManager")
            .field("name", &self.name)
            .field("account", &self.account)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// The secret and the field of it.
fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('#').map_or((name, None), |(secret, field)| (secret, Some(field)))
}

/// AWS ends each secret's ARN with six characters of its own.
fn resource(scope: &Scope, name: &str) -> String {
    match split(name).0 {
        arn if arn.starts_with("arn:") => arn.to_owned(),
        name => scope.arn("secretsmanager", format_args!("secret:{name}-??????")),
    }
}

fn put_already(error: Error, name: &str) -> Error {
    match error.kind() {
        ErrorKind::AlreadyExists => {
            let message = format!("this step has put another value of `{name}` before");
            Error::new(ErrorKind::AlreadyExists, "secrets.put", message)
                .with_effect(Effect::None)
                .advice("give it the value of its first attempt, or begin another run")
        }
        _ => error,
    }
}

fn rotated(reference: &SecretRef, present: &str) -> Error {
    let message = format!("the version of `{}/{}` is now `{present}`", reference.store, reference.name);
    Error::new(ErrorKind::Conflict, "secrets.get", message)
        .with("expected", &reference.version)
        .advice("the secret was rotated after the plan was made; plan again")
}

/// The text of a secret, or of a field of it. Errors show nothing of either.
fn value(found: GetSecretValueOutput, name: &str, field: Option<&str>) -> Result<Secret<String>> {
    let invalid = |problem: &str| Error::invalid("secrets.get", format!("the secret `{name}` {problem}"));
    let text = found.secret_string.ok_or_else(|| invalid("holds bytes, not a text"))?;
    let Some(field) = field else { return Ok(Secret::new(text)) };
    let document: Value = serde_json::from_str(&text).map_err(|_| invalid("is no JSON, so it has no fields"))?;
    match document.get(field) {
        Some(Value::String(value)) => Ok(Secret::new(value.clone())),
        Some(Value::Number(value)) => Ok(Secret::new(value.to_string())),
        Some(_) => Err(invalid("is no text")),
        None => {
            Err(Error::new(ErrorKind::NotFound, "secrets.get", format!("the secret of `{name}` has no such field")))
        }
    }
}
