//! The logins that `docker login` and its like keep.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use async_trait::async_trait;
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{Credential, CredentialSource};
use crate::{
    Context, Error, ErrorKind, Result, Secret,
    files::{blocking, read_if_there},
};

const OPERATION: &str = "registry.login";
/// How long a helper may take.
const HELPER_TIME: Duration = Duration::from_secs(30);
/// The user name by which a helper says that its secret is an identity token.
const TOKEN_USER: &str = "<token>";
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Docker's `config.json`: logins that stand in it, and the credential helpers that it names.
///
/// The file is read, and a helper run, whenever the registry wants a login that is not known or no longer good. A helper
/// is a program of this machine with the right to read its key chain: name only files that you trust. A file that is not
/// there means no login.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    path: PathBuf,
    helpers: BTreeMap<String, PathBuf>,
    time: Duration,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Login>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Login {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

impl DockerConfig {
    /// The file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), helpers: BTreeMap::new(), time: HELPER_TIME }
    }

    /// The file that Docker's own programs use: in the folder `$DOCKER_CONFIG`, else `~/.docker/config.json`.
    pub fn standard() -> Self {
        let named = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let home = || std::env::home_dir().unwrap_or_default().join(".docker");
        Self::new(named.unwrap_or_else(home).join("config.json"))
    }

    /// Where the program of the helper `name` is, instead of a `docker-credential-NAME` on the `PATH`.
    pub fn helper(mut self, name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        self.helpers.insert(name.into(), program.into());
        self
    }

    /// How long a helper may take (default 30 s); it is then killed.
    pub fn helper_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    async fn read(&self) -> Result<Config> {
        let path = self.path.clone();
        let Some(bytes) = blocking(OPERATION, move || read_if_there(OPERATION, &path)).await? else {
            return Ok(Config::default());
        };
        // The parser's own words may show what stands there.
        serde_json::from_slice(&bytes).map_err(|error| {
            let at = format!("`{}`, line {}, column {}", self.path.display(), error.line(), error.column());
            Error::new(ErrorKind::Corrupt, OPERATION, format!("{at}: not as Docker writes its configuration"))
                .advice("mend the file, or log in anew")
        })
    }

    async fn ask_helper(&self, cx: &Context, name: &str, host: &str) -> Result<Credential> {
        let program = self.program(name)?;
        let run = tokio::time::timeout(self.time, run_helper(&program, host));
        let fail = |kind, said: String| {
            Error::new(kind, OPERATION, format!("the credential helper `{}` {said}", program.display()))
                .with("host", host)
                .with("named in", self.path.display())
        };
        let output = match run.await {
            Err(_) => return Err(fail(ErrorKind::Timeout, format!("did not end within {:?}", self.time))),
            Ok(Err(error)) => {
                return Err(fail(ErrorKind::NotFound, format!("cannot be run: {error}")).with_source(error));
            }
            Ok(Ok(output)) => output,
        };
        if !output.status.success() {
            let said = first_line(&output.stdout);
            if said.contains("credentials not found") {
                return Ok(Credential::Anonymous);
            }
            let said = format!("ended with {}: {}", output.status, cx.redactor().redact(&said));
            return Err(fail(ErrorKind::CommandFailed, said).advice("log in anew with the tool that set it up"));
        }
        let helped: Helped = serde_json::from_slice(&output.stdout)
            .map_err(|_| fail(ErrorKind::CommandFailed, "did not answer with `Username` and `Secret`".to_owned()))?;
        let secret = Secret::new(helped.secret);
        Ok(match helped.username.as_str() {
            TOKEN_USER => Credential::Identity(secret),
            _ => Credential::basic(helped.username, secret),
        })
    }

    fn program(&self, name: &str) -> Result<PathBuf> {
        if let Some(program) = self.helpers.get(name) {
            return Ok(program.clone());
        }
        let valid = |found: char| found.is_ascii_alphanumeric() || matches!(found, '-' | '_' | '.');
        if !name.is_empty() && name.chars().all(valid) {
            return Ok(PathBuf::from(format!("docker-credential-{name}")));
        }
        let message = format!("`{}` names the credential helper `{name}`, which is no name", self.path.display());
        Err(Error::invalid(OPERATION, message).advice("letters, digits, `-`, `_` and `.` only"))
    }
}

#[async_trait]
impl CredentialSource for DockerConfig {
    async fn credential(&self, cx: &Context, host: &str) -> Result<Credential> {
        let config = self.read().await?;
        let own = of_host(&config.cred_helpers, host);
        // An empty name is no helper.
        if let Some(helper) = own.filter(|helper| !helper.is_empty()) {
            return self.ask_helper(cx, helper, host).await;
        }
        if let Some(login) = of_host(&config.auths, host)
            && let Some(credential) = login.credential()
        {
            return credential.map_err(|expected| {
                let message = format!("`{}`: the login for `{host}` is not {expected}", self.path.display());
                Error::new(ErrorKind::Corrupt, OPERATION, message).advice("log in anew")
            });
        }
        // A host with a word of its own on helpers is not in the store, as with docker's own client.
        match config.creds_store.filter(|helper| !helper.is_empty() && own.is_none()) {
            Some(helper) => self.ask_helper(cx, &helper, host).await,
            None => Ok(Credential::Anonymous),
        }
    }
}

impl Login {
    /// `None` if it holds nothing, as where a helper keeps the login.
    fn credential(&self) -> Option<Result<Credential, &'static str>> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.registrytoken) {
            return Some(Ok(Credential::Bearer(Secret::new(token))));
        }
        if let Some(token) = filled(&self.identitytoken) {
            return Some(Ok(Credential::Identity(Secret::new(token))));
        }
        if let Some(auth) = filled(&self.auth) {
            return Some(decode(&auth).ok_or("the base64 of `user:password`"));
        }
        let (username, password) = (filled(&self.username)?, filled(&self.password)?);
        Some(Ok(Credential::basic(username, Secret::new(password))))
    }
}

fn decode(auth: &str) -> Option<Credential> {
    let bytes = GeneralPurpose::new(&STANDARD, LENIENT).decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker on Windows leaves NUL bytes behind.
    Some(Credential::basic(username, Secret::new(password.trim_end_matches('\0').to_owned())))
}

/// The entry for `host`, which other tools also write as `https://HOST/v1/` and the like.
fn of_host<'a, T>(all: &'a BTreeMap<String, T>, host: &str) -> Option<&'a T> {
    all.get(host).or_else(|| all.iter().find(|(key, _)| bare(key) == bare(host)).map(|(_, entry)| entry))
}

fn bare(address: &str) -> &str {
    let address = address.strip_prefix("https://").or(address.strip_prefix("http://")).unwrap_or(address);
    address.split('/').next().unwrap_or(address)
}

async fn run_helper(program: &Path, host: &str) -> std::io::Result<std::process::Output> {
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its input may still answer.
        _ = input.write_all(host.as_bytes()).await;
    }
    child.wait_with_output().await
}

/// What a helper that failed says, by the protocol on its standard output.
fn first_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().filter(|found| !found.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
