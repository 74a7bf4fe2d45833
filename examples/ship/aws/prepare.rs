//! Makes what the platform needs in an account and what is not there: buckets, distributions, secrets. An operator does
//! that once, with rights that no release has. What is there stays as it is, and whatever was made before something
//! failed is found the next time.

mod bucket;
mod distribution;

use std::path::Path;

use ecolaura_deploy_aws::{Account, SecretsManager};
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result, Secret, analysis::scan::AllowEntry, backend::SecretStore as _,
};
use ecolaura_deploy_examples::aws::{connect, is_played};

use super::settings::{Place, Settings};
use crate::ship::storage::new_token;

const OPERATION: &str = "ship.prepare";

/// The finding that moto makes up for every image, and until when it is let pass.
const MADE_UP: (&str, &str) = ("CVE-9999-9999", "2099-12-31");

/// Makes what `file` names and is not there, and writes `file`, anew if it is not there itself. Answers with what was
/// made.
pub async fn all(cx: &Context, file: &Path) -> Result<Vec<String>> {
    let known = file.exists().then(|| Settings::read(file)).transpose()?;
    let account = connect(cx, known.as_ref().map(|settings| settings.region.as_str())).await?;
    let identity = account.identity(cx).await?;
    let mut settings = match known {
        Some(settings) => settings,
        None => Settings::new(&identity.account, account.region())?,
    };
    account.expect(cx, &settings.account, &settings.region).await?;
    let mut prepare = Prepare { account: &account, made: Vec::new() };
    prepare.bucket(&settings.records).await?;
    for environment in settings.environments.keys().cloned().collect::<Vec<_>>() {
        if let Some(place) = settings.environments.get_mut(&environment) {
            prepare.bucket(&place.bucket).await?;
            prepare.distribution(environment.as_str(), place).await?;
        }
        // A distribution that was made is known from here on, whatever becomes of the rest.
        settings.write(file)?;
        let place = settings.place(&environment)?;
        prepare.readers(place, &identity.account).await?;
        prepare.secret(cx, place).await?;
    }
    if is_played(&account) && settings.tolerate.is_empty() {
        let (id, until) = MADE_UP;
        let until = until.parse().map_err(|error| Error::internal(OPERATION, format!("{error}")))?;
        settings.tolerate.push(AllowEntry::new(id, until, "made up by servers that play AWS"));
        settings.write(file)?;
    }
    let mut lines = prepare.made;
    if lines.is_empty() {
        lines.push("everything was there".to_owned());
    }
    lines.push(format!("what the platform has is in {}", file.display()));
    Ok(lines)
}

struct Prepare<'a> {
    account: &'a Account,
    made: Vec<String>,
}

impl Prepare<'_> {
    async fn secret(&mut self, cx: &Context, place: &Place) -> Result<()> {
        let (store, name) = (SecretsManager::new("secrets".parse()?, self.account), place.token());
        match store.resolve(cx, &name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let token = new_token().map_err(|error| Error::io(OPERATION, Path::new("/dev/urandom"), error))?;
                store.put(cx, &name, &Secret::new(token)).await?;
                self.made.push(format!("secret {name}"));
                Ok(())
            }
            found => found.map(drop),
        }
    }
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &str, error: E) -> Error {
    let message = format!("{what}: {}", aws_sdk_s3::error::DisplayErrorContext(&error));
    Error::new(ErrorKind::Unavailable, OPERATION, message)
        .with_source(error)
        .advice("what was made stays; run it again when that is mended")
}

fn nothing(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION, format!("the answer names no {what}"))
}

fn incomplete<E: std::error::Error + Send + Sync + 'static>(error: E) -> Error {
    Error::internal(OPERATION, "a request is incomplete").with_source(error)
}
