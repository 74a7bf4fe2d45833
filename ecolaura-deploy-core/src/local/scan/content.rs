//! What must not be in a layer.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use flate2::read::MultiGzDecoder;
use tar::EntryType;
use tokio_util::io::SyncIoBridge;

use crate::{
    Context, Error, ErrorKind, Result,
    backend::{BlobReader, Finding, Severity},
    local::oci::{Descriptor, Packing, UNPACKED},
};

/// How much of a file is looked at.
const HEAD: u64 = 4096;
/// The most findings of one layer that are listed.
const LISTED: usize = 200;

/// Which rules apply, and how bad a breach is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) private_keys: Option<Severity>,
    pub(super) leftovers: Option<Severity>,
    pub(super) setuid: Option<Severity>,
}

/// Whether `user` (`name`, `uid`, either with `:group`) is root, or nobody in particular, which means root.
pub(super) fn root_user(user: &str) -> bool {
    let user = user.split(':').next().unwrap_or_default().trim();
    user == "root" || user.parse::<u32>().map_or(user.is_empty(), |id| id == 0)
}

/// The breaches in the layer behind `blob`. It is read to its end, so that its digest is verified.
pub(super) async fn scan_layer(
    cx: &Context,
    blob: BlobReader,
    layer: &Descriptor,
    number: usize,
    rules: Rules,
) -> Result<Vec<Finding>> {
    let (cx, packing) = (cx.clone(), layer.packing());
    let place = format!("layer {number} ({})", layer.digest.short());
    let shown = place.clone();
    let work = move || {
        let mut blob = SyncIoBridge::new(blob);
        let findings = match packing {
            Some(Packing::Gzip) => read_tar(&cx, MultiGzDecoder::new(&mut blob), &place, rules),
            _ => read_tar(&cx, &mut blob, &place, rules),
        }?;
        io::copy(&mut blob, &mut io::sink()).map_err(|error| unreadable(&place, error))?;
        Ok(findings)
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("scan.scan", format!("reading {shown} ended early")).with_source(error))?
}

fn unreadable(place: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "scan.scan", format!("{place} cannot be read: {error}"))
        .advice("build and push the image again")
        .with_source(error)
}

fn read_tar(cx: &Context, layer: impl Read, place: &str, rules: Rules) -> Result<Vec<Finding>> {
    let fail = |error| unreadable(place, error);
    let mut archive = tar::Archive::new(layer.take(UNPACKED));
    let (mut findings, mut repositories) = (Vec::new(), BTreeSet::new());
    for entry in archive.entries().map_err(fail)? {
        cx.check("scan.scan")?;
        let mut entry = entry.map_err(fail)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_start_matches("./").trim_start_matches('/');
        let file = is_file(entry.header().entry_type());
        let mode = entry.header().mode().map_err(fail)?;
        let mut head = Vec::new();
        if file && rules.private_keys.is_some() && may_hold_key(path) {
            entry.by_ref().take(HEAD).read_to_end(&mut head).map_err(fail)?;
        }
        if let Some(severity) = rules.leftovers
            && let Some(folder) = repository(path, file)
            && repositories.insert(folder.to_owned())
        {
            let why = "a Git repository with its whole history";
            findings.push(Finding::new("forbidden-file", severity, format!("/{folder} in {place}"), why));
        }
        let found = breach(path, file.then_some(mode), &head, rules);
        findings.extend(
            found.map(|(rule, severity, why)| Finding::new(rule, severity, format!("/{path} in {place}"), why)),
        );
        if findings.len() > LISTED {
            findings.truncate(LISTED);
            let more = format!("further entries of {place}");
            findings.push(Finding::new("too-many-findings", Severity::Unknown, more, "the list was cut off"));
            break;
        }
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(fail)?;
    if rest.limit() == 0 {
        let message = format!("{place} unpacks to more than 64 GiB");
        return Err(Error::new(ErrorKind::LimitExceeded, "scan.scan", message));
    }
    Ok(findings)
}

fn file_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

fn may_hold_key(path: &str) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    name.rsplit_once('.').is_some_and(|(_, ending)| matches!(ending, "pem" | "key"))
}

/// Whether an entry becomes a file. A hard link has a name and a mode, and what is in it is judged where it stands.
fn is_file(kind: EntryType) -> bool {
    matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse | EntryType::Link)
}

/// The Git repository that an entry is, or lies in. Layers need not have an entry for a folder, and a file that is called
/// so names a repository elsewhere. What only hides something of a layer below is none.
fn repository(path: &str, file: bool) -> Option<&str> {
    let path = path.trim_end_matches('/');
    let mut end = 0;
    for part in path.split('/') {
        end += part.len();
        let whole = end == path.len();
        if part == ".git" && !(whole && file) {
            return Some(&path[..end]).filter(|_| !file_name(path).starts_with(".wh."));
        }
        end += 1;
    }
    None
}

/// The rule that the entry breaks by itself, if any. `mode` is that of a file.
fn breach(path: &str, mode: Option<u32>, head: &[u8], rules: Rules) -> Option<(&'static str, Severity, &'static str)> {
    let name = file_name(path);
    let key = mode.is_some() && (is_key_name(name) || head.windows(11).any(|window| window == b"PRIVATE KEY"));
    let environment = mode.is_some() && (name == ".env" || name.starts_with(".env.")) && name != ".env.example";
    let setuid = mode.is_some_and(|mode| mode & 0o6000 != 0);
    let forbidden = "forbidden-file";
    match rules {
        Rules { private_keys: Some(severity), .. } if key => Some((forbidden, severity, "a private key")),
        Rules { leftovers: Some(severity), .. } if environment => {
            Some((forbidden, severity, "an environment file, which often holds secrets"))
        }
        Rules { setuid: Some(severity), .. } if setuid => {
            Some(("setuid-file", severity, "a file that runs with the rights of its owner or group"))
        }
        _ => None,
    }
}

fn is_key_name(name: &str) -> bool {
    matches!(name, "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" | "id_ecdsa_sk" | "id_ed25519_sk")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_for_what_they_name() {
        let severity = Some(Severity::High);
        let rules = Rules { private_keys: severity, leftovers: severity, setuid: severity };
        let key: &[u8] = b"# comment\n-----BEGIN EC PRIVATE KEY-----\n";
        for (path, mode, head, expected) in [
            ("root/.ssh/id_rsa", Some(0o600), &b""[..], Some("forbidden-file")),
            ("root/.ssh/id_rsa.pub", Some(0o644), b"", None),
            ("etc/tls.pem", Some(0o644), key, Some("forbidden-file")),
            ("etc/ca.pem", Some(0o644), b"-----BEGIN CERTIFICATE-----", None),
            ("./app/.env", Some(0o644), b"", Some("forbidden-file")),
            ("app/.env.production", Some(0o644), b"", Some("forbidden-file")),
            ("app/.environment", Some(0o644), b"", None),
            ("app/.gitignore", Some(0o644), b"", None),
            ("bin/su", Some(0o4755), b"", Some("setuid-file")),
            ("bin/wall", Some(0o2755), b"", Some("setuid-file")),
            ("tmp/", None, b"", None),
            ("bin/sh", Some(0o755), b"", None),
        ] {
            assert_eq!(breach(path, mode, head, rules).map(|(rule, ..)| rule), expected, "{path}");
        }
        let none = Rules { private_keys: None, leftovers: None, setuid: None };
        assert!(breach("a/id_rsa", Some(0o4755), key, none).is_none());
    }

    #[test]
    fn repositories_are_known_by_what_is_in_them() {
        for (path, file, expected) in [
            ("app/.git/", false, Some("app/.git")),
            (".git/HEAD", true, Some(".git")),
            ("app/.git/objects/ab/cd", true, Some("app/.git")),
            ("app/.git", true, None),
            ("app/.github/x", true, None),
            ("app/x.git/HEAD", true, None),
            ("app/.wh..git", true, None),
            ("app/.git/.wh.HEAD", true, None),
        ] {
            assert_eq!(repository(path, file), expected, "{path}");
        }
    }

    #[test]
    fn root_goes_by_many_names() {
        for (user, root) in [("", true), ("0", true), ("root", true), ("0:0", true), ("root:app", true), ("00", true)] {
            assert_eq!(root_user(user), root, "{user}");
        }
        for user in ["1000", "app", "app:root", "65532:0"] {
            assert!(!root_user(user), "{user}");
        }
    }
}
