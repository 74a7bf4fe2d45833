//! Which packages the advisories name. Pure.

use std::collections::BTreeMap;

use semver::Version;

use super::{
    advisories::{Advisory, Database, Event, Range},
    materials::Package,
};
use crate::backend::{Finding, Fix, Severity};

/// What `database` says of `packages`. Packages of kinds that it cannot judge are one finding for each kind.
pub(super) fn match_all(packages: &[Package], database: &Database) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unknown = BTreeMap::<&str, usize>::new();
    for package in packages {
        match ecosystem(&package.kind) {
            Some(ecosystem) => findings.extend(match_one(package, database.of(ecosystem, &package.name))),
            None => *unknown.entry(&package.kind).or_default() += 1,
        }
    }
    findings.extend(unknown.into_iter().map(|(kind, count)| {
        let subject = format!("{count} packages of the kind `{kind}`");
        Finding::new("unjudged-packages", Severity::Unknown, subject, "this scanner judges `cargo` and `npm` only")
    }));
    findings
}

/// OSV's name for the kind in a package URL.
fn ecosystem(kind: &str) -> Option<&'static str> {
    match kind {
        "cargo" => Some("crates.io"),
        "npm" => Some("npm"),
        _ => None,
    }
}

fn match_one(package: &Package, advisories: &[Advisory]) -> Vec<Finding> {
    let version = lenient(&package.version);
    let subject = format!("{} {}", package.name, package.version);
    let judged = |advisory: &Advisory| {
        let listed = advisory.versions.contains(&package.version);
        let Some(version) = &version else {
            let summary = format!("`{}` is not a version that can be compared", package.version);
            return Some(Finding::new(&advisory.id, Severity::Unknown, &subject, summary));
        };
        if !listed && !advisory.ranges.iter().any(|range| contains(range, version)) {
            return None;
        }
        let mut finding = Finding::new(&advisory.id, advisory.severity, &subject, &advisory.summary);
        finding.fix = mends(advisory, version);
        Some(finding)
    };
    advisories.iter().filter_map(judged).collect()
}

/// Whether `version` lies between an introduction and its end.
fn contains(range: &Range, version: &Version) -> bool {
    let limited = range.limits.is_empty() || range.limits.iter().any(|limit| version.cmp_precedence(limit).is_lt());
    if !limited {
        return false;
    }
    let mut events: Vec<&Event> = range.events.iter().collect();
    events.sort_by(|a, b| match (place(a), place(b)) {
        (Some(a), Some(b)) => a.cmp_precedence(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    });
    let reached = |at: &Version| version.cmp_precedence(at).is_ge();
    events.into_iter().fold(false, |vulnerable, event| match event {
        Event::Introduced(None) => true,
        Event::Introduced(Some(at)) => vulnerable || reached(at),
        Event::Fixed(at) => vulnerable && !reached(at),
        Event::LastAffected(at) => vulnerable && version.cmp_precedence(at).is_le(),
    })
}

fn place(event: &Event) -> Option<&Version> {
    match event {
        Event::Introduced(at) => at.as_ref(),
        Event::Fixed(at) | Event::LastAffected(at) => Some(at),
    }
}

/// What `advisory` tells of a version after `version` that is good. Where it names only the last one that is bad, or the
/// bad ones one by one, another one may be good or not be there.
fn mends(advisory: &Advisory, version: &Version) -> Fix {
    if let Some(fixed) = advisory.ranges.iter().filter_map(|range| fix(range, version)).min() {
        return Fix::In(fixed.to_string());
    }
    let events = || advisory.ranges.iter().flat_map(|range| &range.events);
    let ends = events().any(|event| matches!(event, Event::LastAffected(_)));
    if ends || events().next().is_none() { Fix::Untold } else { Fix::Nowhere }
}

/// The first fix after `version`.
fn fix<'a>(range: &'a Range, version: &Version) -> Option<&'a Version> {
    let fixes = range.events.iter().filter_map(|event| match event {
        Event::Fixed(at) if at.cmp_precedence(version).is_gt() => Some(at),
        _ => None,
    });
    fixes.min()
}

/// A version by semver's grammar, `v` before it and missing parts allowed: `1.2` is `1.2.0`. Where a pre-release
/// follows nothing may be missing, or the date `2026-01-01` would be one of version 2026.
pub(super) fn lenient(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches('v');
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let missing = 2_usize.checked_sub(core.matches('.').count())?;
    if missing > 0 && rest.starts_with('-') {
        return None;
    }
    Version::parse(&format!("{core}{}{rest}", ".0".repeat(missing))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(affected: &str) -> Database {
        let text = format!(
            r#"{{"id":"A-1","summary":"bad","database_specific":{{"severity":"HIGH"}},"affected":[
                {{"package":{{"ecosystem":"crates.io","name":"time"}},{affected}}}]}}"#
        );
        Database::from_text(&text).unwrap()
    }

    fn package(version: &str) -> Package {
        Package { kind: "cargo".to_owned(), name: "time".to_owned(), version: version.to_owned() }
    }

    /// What is told of a fix, if it is found.
    fn found(events: &str, version: &str) -> Option<Fix> {
        let database = database(&format!(r#""ranges":[{{"type":"SEMVER","events":[{events}]}}]"#));
        match_all(&[package(version)], &database).pop().map(|finding| finding.fix)
    }

    #[test]
    fn ranges_hold_what_they_should() {
        let until = r#"{"introduced":"0"},{"fixed":"0.2.23"}"#;
        let twice = r#"{"fixed":"1.4.0"},{"introduced":"1.2.0"},{"introduced":"0.5.0"},{"fixed":"0.9.0"}"#;
        let last = r#"{"introduced":"1.0.0"},{"last_affected":"1.5.0"}"#;
        let open = r#"{"introduced":"2"}"#;
        let limit = r#"{"introduced":"0"},{"limit":"3.0.0"}"#;
        let fixed = |version: &str| Some(Fix::In(version.to_owned()));
        for (events, version, expected) in [
            (until, "0.1.44", fixed("0.2.23")),
            (until, "0.2.23", None),
            (until, "0.2.23-alpha", fixed("0.2.23")),
            (until, "0.2.23+build", None),
            (until, "0.3.0", None),
            (twice, "0.4.0", None),
            (twice, "0.5.0", fixed("0.9.0")),
            (twice, "1.0.0", None),
            (twice, "1.3.9", fixed("1.4.0")),
            (twice, "1.4.0", None),
            (last, "1.5.0", Some(Fix::Untold)),
            (last, "1.5.1", None),
            (last, "0.9.9", None),
            (open, "1.9.9", None),
            (open, "2.0.0", Some(Fix::Nowhere)),
            (open, "99.0.0", Some(Fix::Nowhere)),
            (limit, "2.9.9", Some(Fix::Nowhere)),
            (limit, "3.0.0", None),
        ] {
            assert_eq!(found(events, version), expected, "{events} {version}");
        }
    }

    #[test]
    fn listed_versions_other_packages_and_what_cannot_be_judged() {
        let listed = database(r#""versions":["1.0.0"]"#);
        let found = match_all(&[package("1.0.0")], &listed);
        assert_eq!((found.len(), &found[0].fix), (1, &Fix::Untold));
        assert!(match_all(&[package("1.0.1")], &listed).is_empty());
        let npm = Package { kind: "npm".to_owned(), ..package("1.0.0") };
        assert!(match_all(&[npm], &listed).is_empty());
        let debian = Package { kind: "deb".to_owned(), ..package("1.0.0") };
        assert_eq!(match_all(&[debian.clone(), debian], &listed)[0].id, "unjudged-packages");
        let strange = match_all(&[package("2026-01-01")], &listed);
        assert_eq!((strange.len(), strange[0].severity), (1, Severity::Unknown));
    }

    #[test]
    fn severity_comes_from_the_vector_then_from_words() {
        let of = |affected: &str| match_all(&[package("1.0.0")], &database(affected))[0].severity;
        assert_eq!(of(r#""versions":["1.0.0"]"#), Severity::High);
        let vector = r#""versions":["1.0.0"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]"#;
        assert_eq!(of(vector), Severity::Medium);
    }

    #[test]
    fn withdrawn_advisories_count_for_nothing_and_bad_ones_are_refused() {
        let withdrawn = r#"{"id":"A","withdrawn":"2026-01-01T00:00:00Z","affected":[
            {"package":{"ecosystem":"crates.io","name":"time"},"versions":["1.0.0"]}]}"#;
        let database = Database::from_text(withdrawn).unwrap();
        assert!(match_all(&[package("1.0.0")], &database).is_empty());
        for (range, expected) in [
            (r#"{"type":"SEMVER","events":[{"introduced":"x"}]}"#, "`x` in an event `introduced`"),
            (r#"{"type":"SEMVER","events":[{"fixed":"1.0.0"}]}"#, "no event `introduced`"),
            (r#"{"type":"SEMVER","events":[{"intruduced":"1.0.0"}]}"#, "`intruduced`"),
            (r#"{"type":"CALVER","events":[]}"#, "`CALVER`"),
        ] {
            let text = format!(
                r#"{{"id":"A","affected":[{{"package":{{"ecosystem":"npm","name":"a"}},"ranges":[{range}]}}]}}"#
            );
            let reason = Database::from_text(&text).unwrap_err();
            assert!(reason.contains(expected), "{range}: {reason}");
        }
    }
}
