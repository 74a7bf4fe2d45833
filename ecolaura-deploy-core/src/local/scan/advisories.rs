//! A folder of advisories in OSV's format.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use semver::Version;
use serde::Deserialize;

use super::{cvss, matching::lenient};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::Severity,
    vocabulary::{Digest, Digester},
};

/// The advisories by ecosystem and package.
#[derive(Debug)]
pub(super) struct Database {
    /// Over names and contents of all files.
    pub(super) digest: Digest,
    by_package: BTreeMap<(String, String), Vec<Advisory>>,
}

/// What one advisory says of one package.
#[derive(Debug, Clone)]
pub(super) struct Advisory {
    pub(super) id: String,
    pub(super) summary: String,
    pub(super) severity: Severity,
    pub(super) ranges: Vec<Range>,
    pub(super) versions: Vec<String>,
}

/// Events in the order of their versions.
#[derive(Debug, Clone, Default)]
pub(super) struct Range {
    pub(super) events: Vec<Event>,
    pub(super) limits: Vec<Version>,
}

/// A point at which a package becomes vulnerable, or stops being so. `Introduced(None)` is the beginning.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Introduced(Option<Version>),
    Fixed(Version),
    LastAffected(Version),
}

#[derive(Deserialize)]
struct Osv {
    id: String,
    #[serde(default)]
    summary: String,
    withdrawn: Option<String>,
    #[serde(default)]
    severity: Vec<Rating>,
    #[serde(default)]
    database_specific: Specific,
    affected: Vec<Affected>,
}

#[derive(Deserialize)]
struct Rating {
    score: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Specific {
    severity: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Affected {
    package: Option<PackageName>,
    #[serde(default)]
    ranges: Vec<RawRange>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    severity: Vec<Rating>,
    #[serde(default)]
    database_specific: Specific,
    #[serde(default)]
    ecosystem_specific: Specific,
}

#[derive(Deserialize)]
struct PackageName {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct RawRange {
    #[serde(rename = "type")]
    kind: String,
    events: Vec<BTreeMap<String, String>>,
}

impl Database {
    /// Reads every `*.json` below `folder`. Fails with `NotFound`, and `InvalidInput` naming the file.
    pub(super) fn load(cx: &Context, folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        find(folder, &mut files)?;
        files.sort();
        if files.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "scan.database", "the folder holds no advisory")
                .with("folder", folder.display())
                .advice("put advisories in OSV's JSON format there; without any, nothing could be found"));
        }
        let mut digester = Digester::new();
        let mut by_package = BTreeMap::<_, Vec<_>>::new();
        for path in files {
            cx.check("scan.database")?;
            let bytes = std::fs::read(&path).map_err(|error| Error::io("scan.database", &path, error))?;
            let name = path.strip_prefix(folder).unwrap_or(&path);
            digester.field(name.as_os_str().as_encoded_bytes()).field(&bytes);
            for (package, advisory) in parse(&bytes).map_err(|reason| malformed(&path, &reason))? {
                by_package.entry(package).or_default().push(advisory);
            }
        }
        Ok(Self { digest: digester.finish(), by_package })
    }

    pub(super) fn of(&self, ecosystem: &str, name: &str) -> &[Advisory] {
        self.by_package.get(&(ecosystem.to_owned(), name.to_owned())).map_or(&[], Vec::as_slice)
    }

    #[cfg(test)]
    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        let mut by_package = BTreeMap::<_, Vec<_>>::new();
        for (package, advisory) in parse(text.as_bytes())? {
            by_package.entry(package).or_default().push(advisory);
        }
        Ok(Self { digest: Digest::of(text), by_package })
    }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let fail = |error| Error::io("scan.database", folder, error);
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path();
        if entry.file_type().map_err(fail)?.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(())
}

fn malformed(path: &Path, reason: &str) -> Error {
    Error::invalid("scan.database", format!("`{}` is not an OSV advisory: {reason}", path.display()))
        .with("file", path.display())
        .advice("mend or remove the file; images are not passed while an advisory cannot be read")
}

type Entry = ((String, String), Advisory);

/// What an advisory says, by ecosystem and package; nothing if it was withdrawn.
fn parse(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let osv: Osv = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if osv.withdrawn.is_some() {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for affected in &osv.affected {
        let Some(package) = &affected.package else { continue };
        if !matches!(package.ecosystem.as_str(), "crates.io" | "npm") {
            continue;
        }
        let advisory = Advisory {
            id: osv.id.clone(),
            summary: osv.summary.clone(),
            severity: severity(&osv, affected),
            ranges: affected.ranges.iter().map(range).filter_map(Result::transpose).collect::<Result<_, _>>()?,
            versions: affected.versions.clone(),
        };
        entries.push(((package.ecosystem.clone(), package.name.clone()), advisory));
    }
    Ok(entries)
}

/// The worst that anybody says; the words are used where there is no vector that can be computed.
fn severity(osv: &Osv, affected: &Affected) -> Severity {
    let vectors = osv.severity.iter().chain(&affected.severity).filter_map(|rating| cvss::severity(&rating.score));
    let words = [&osv.database_specific, &affected.database_specific, &affected.ecosystem_specific];
    let words = words.into_iter().filter_map(|specific| word(specific.severity.as_ref()?.as_str()?));
    vectors.max().or_else(|| words.max()).unwrap_or(Severity::Unknown)
}

fn word(text: &str) -> Option<Severity> {
    match text.to_ascii_lowercase().as_str() {
        "low" => Some(Severity::Low),
        "medium" | "moderate" => Some(Severity::Medium),
        "high" | "important" => Some(Severity::High),
        "critical" => Some(Severity::Critical),
        _ => None,
    }
}

/// `None` for ranges of commits.
fn range(raw: &RawRange) -> Result<Option<Range>, String> {
    match raw.kind.as_str() {
        "SEMVER" | "ECOSYSTEM" => {}
        "GIT" => return Ok(None),
        other => return Err(format!("the range type `{other}` is none of SEMVER, ECOSYSTEM, GIT")),
    }
    let mut range = Range::default();
    for (kind, text) in raw.events.iter().flatten() {
        let version = || lenient(text).ok_or_else(|| format!("`{text}` in an event `{kind}` is not a version"));
        match kind.as_str() {
            "introduced" if text == "0" => range.events.push(Event::Introduced(None)),
            "introduced" => range.events.push(Event::Introduced(Some(version()?))),
            "fixed" => range.events.push(Event::Fixed(version()?)),
            "last_affected" => range.events.push(Event::LastAffected(version()?)),
            "limit" if text == "*" => {}
            "limit" => range.limits.push(version()?),
            other => return Err(format!("the event `{other}` is not known")),
        }
    }
    if !range.events.iter().any(|event| matches!(event, Event::Introduced(_))) {
        return Err("a range has no event `introduced`".to_owned());
    }
    Ok(Some(range))
}
