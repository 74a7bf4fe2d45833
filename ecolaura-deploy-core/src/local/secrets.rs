//! Secrets from files or the environment.

mod environment;
mod file;

pub use self::{environment::EnvSecrets, file::FileSecrets};

use crate::{Error, ErrorKind, Result, SecretRef, vocabulary::Name};

/// Fails with `Conflict` if `reference` names another version than `present`, with `NotFound` if it is another
/// store's.
fn check_reference(store: &Name, reference: &SecretRef, present: &str) -> Result<()> {
    if reference.store != *store {
        let message = format!("`{reference}` is a secret of another store than `{store}`");
        return Err(Error::new(ErrorKind::NotFound, "secrets.get", message));
    }
    if reference.version == present {
        return Ok(());
    }
    let message = format!("the version of `{}/{}` is now `{present}`", reference.store, reference.name);
    Err(Error::new(ErrorKind::Conflict, "secrets.get", message)
        .with("expected", &reference.version)
        .advice("the secret was changed after the plan was made; plan again"))
}

#[cfg(test)]
mod tests;
