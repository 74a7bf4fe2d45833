//! Which image of an archive is meant.

use super::{ImageArchive, OPERATION, archive::Archive};
use crate::{Error, ErrorKind, Result, vocabulary::Platform};

/// An image of an archive.
#[derive(Debug)]
pub(super) struct Candidate<T> {
    pub(super) names: Vec<String>,
    pub(super) platform: Platform,
    pub(super) image: T,
}

/// Those that fit, if they are one image for several platforms, and no platform is asked for.
pub(super) fn together<'a, T>(wanted: &ImageArchive, candidates: &'a [Candidate<T>]) -> Option<Vec<&'a Candidate<T>>> {
    let fitting: Vec<_> = candidates.iter().filter(|one| one.fits(wanted)).collect();
    let mut platforms: Vec<_> = fitting.iter().map(|one| &one.platform).collect();
    platforms.sort();
    platforms.dedup();
    (wanted.platform.is_none() && fitting.len() > 1 && platforms.len() == fitting.len()).then_some(fitting)
}

/// What an image for all of `platforms` is called: this machine's, if it is among them.
pub(super) fn first<'a>(mut platforms: impl Iterator<Item = &'a Platform> + Clone) -> Platform {
    let current = Platform::current();
    let own = platforms.clone().find(|platform| **platform == current);
    own.or_else(|| platforms.next()).cloned().unwrap_or(current)
}

impl<T> Candidate<T> {
    fn fits(&self, wanted: &ImageArchive) -> bool {
        let named = |reference: &String| self.names.iter().any(|name| full(name) == full(reference));
        wanted.reference.as_ref().is_none_or(named)
            && wanted.platform.as_ref().is_none_or(|platform| *platform == self.platform)
    }

    fn describe(&self) -> String {
        let names: Vec<_> = self.names.iter().map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() { "one without a name".to_owned() } else { names.join(" = ") };
        format!("{names} for {}", self.platform)
    }
}

/// The one that fits.
pub(super) fn choose<T>(
    archive: &Archive,
    wanted: &ImageArchive,
    candidates: Vec<Candidate<T>>,
) -> Result<Candidate<T>> {
    let (mut fitting, others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|one| one.fits(wanted));
    if fitting.len() == 1
        && let Some(one) = fitting.pop()
    {
        return Ok(one);
    }
    let path = archive.path().display();
    if fitting.is_empty() {
        let there: Vec<_> = others.iter().map(Candidate::describe).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let message = format!("`{path}` has no image{}; it has {there}", asked(wanted));
        return Err(Error::new(ErrorKind::NotFound, OPERATION, message));
    }
    let there: Vec<_> = fitting.iter().map(Candidate::describe).collect();
    let message = format!("`{path}` has several images{}: {}", asked(wanted), there.join(", "));
    Err(Error::invalid(OPERATION, message).advice("say which one by its name or platform"))
}

fn asked(wanted: &ImageArchive) -> String {
    let name = wanted.reference.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
    let platform = wanted.platform.as_ref().map(|platform| format!(" for {platform}")).unwrap_or_default();
    name + &platform
}

/// A name with what docker leaves out, and without what it adds.
fn full(name: &str) -> String {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}
