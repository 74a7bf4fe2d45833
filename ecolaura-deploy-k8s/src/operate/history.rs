//! The revisions of a service that are kept.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    backend::Track,
    vocabulary::{Name, ServiceName},
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Workload;
use crate::{
    diff,
    edition::{self, Edition},
    names::{EPOCH, RUN},
    object::Key,
    reconcile::Server,
    render::candidate_name,
    target::{deployment_kind, json_of},
    watch,
};

/// Annotation of Deployments: why they are as they are, for people.
const CAUSE: &str = "kubernetes.io/change-cause";

/// How much of a digest is shown; the value has all of it.
const DIGITS: usize = 12;

/// The revisions of a service, oldest first. `Display` is a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// Where it runs.
    pub namespace: Name,
    /// The service.
    pub service: ServiceName,
    /// What is kept of it.
    pub revisions: Vec<Recorded>,
}

/// A revision that can be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recorded {
    /// Its number; 0 is what others had rolled out before.
    pub revision: u64,
    /// When it was first applied, in UTC as RFC 3339 has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The images of its containers, those that run first included.
    pub images: Vec<String>,
    /// Whether it runs now, and as what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Track>,
    /// Whether somebody else changed the pods that run of it.
    #[serde(default)]
    pub changed: bool,
    /// The run that brought it; none for what was applied outside of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The epoch of that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// What the manifests gave as `kubernetes.io/change-cause`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl History {
    /// The newest revision that is older than what runs.
    pub fn before(&self) -> Option<u64> {
        let live = self.revisions.iter().find(|revision| revision.live == Some(Track::Stable))?.revision;
        self.revisions.iter().map(|recorded| recorded.revision).filter(|revision| *revision < live).max()
    }

    /// The error of somebody who asks for one that is not kept.
    pub(super) fn has_no(&self, revision: u64) -> Error {
        let kept: Vec<String> = self.revisions.iter().map(Recorded::number).collect();
        let kept = if kept.is_empty() { "none is".to_owned() } else { format!("kept: {}", kept.join(", ")) };
        let message = format!("revision {revision} of {} in {} is not kept; {kept}", self.service, self.namespace);
        Error::new(ErrorKind::NotFound, "cluster.undo", message).advice("name one that is kept, or roll a release out")
    }
}

impl Recorded {
    /// `4 (live)`
    fn number(&self) -> String {
        match self.now() {
            "" => self.revision.to_string(),
            now => format!("{} ({now})", self.revision),
        }
    }

    fn now(&self) -> &'static str {
        match (self.live, self.changed) {
            (None, _) => "",
            (Some(Track::Candidate), _) => "candidate",
            (Some(_), true) => "live, changed by others",
            (Some(_), false) => "live",
        }
    }

    fn row(&self) -> [String; 7] {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        [
            self.revision.to_string(),
            self.now().to_owned(),
            text(&self.time),
            self.images.iter().map(|image| short(image)).collect::<Vec<_>>().join(", "),
            text(&self.run),
            self.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
            text(&self.cause),
        ]
    }
}

/// `shop/web@sha256:0123456789ab`
fn short(image: &str) -> String {
    match image.split_once("@sha256:") {
        Some((name, digest)) => format!("{name}@sha256:{}", digest.get(..DIGITS).unwrap_or(digest)),
        None => image.to_owned(),
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TITLES: [&str; 7] = ["REVISION", "NOW", "SINCE", "IMAGES", "RUN", "EPOCH", "CAUSE"];
        if self.revisions.is_empty() {
            return write!(f, "nothing of {} in {} is recorded", self.service, self.namespace);
        }
        let rows: Vec<[String; 7]> = self.revisions.iter().map(Recorded::row).collect();
        write!(f, "{} in {}", self.service, self.namespace)?;
        for row in [TITLES.map(str::to_owned)].iter().chain(&rows) {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                let widest = rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
                // What nobody has is not shown.
                if widest > 0 {
                    let width = widest.max(TITLES[at].len()) + 2;
                    write!(line, "{cell:width$}")?;
                }
            }
            write!(f, "\n{}", line.trim_end())?;
        }
        Ok(())
    }
}

pub(super) async fn read(server: &Server<'_>, namespace: &Name, service: &ServiceName) -> Result<History> {
    let records = edition::records(server.cx, server.connection, namespace.as_str(), &[service.as_str()]).await?;
    let mut editions = Vec::new();
    for record in &records {
        editions.push((edition::parse(record)?, record));
    }
    let mut live = BTreeMap::new();
    for (name, track) in [(service.to_string(), Track::Stable), (candidate_name(service.as_str()), Track::Candidate)] {
        let key = Key::new("apps/v1", "Deployment", Some(namespace.as_str()), &name);
        if let Some(found) = server.get(&deployment_kind(), &key).await? {
            live.insert(track, json_of(&found));
        }
    }
    if editions.is_empty() && live.is_empty() {
        let workload = Workload::find(server, namespace, service, "cluster.history").await?;
        let why = "what was applied of it is recorded for Deployments only";
        return Err(workload.unsupported(
            "cluster.history",
            why,
            "`kubectl rollout history` shows what its controller keeps",
        ));
    }
    Ok(History { namespace: namespace.clone(), service: service.clone(), revisions: recorded(editions, &live) })
}

/// One for each revision: since its first edition, as its newest has it.
fn recorded(editions: Vec<(Edition, &ControllerRevision)>, live: &BTreeMap<Track, Value>) -> Vec<Recorded> {
    let mut revisions: BTreeMap<u64, BTreeMap<u64, (Edition, &ControllerRevision)>> = BTreeMap::new();
    for (edition, record) in editions {
        revisions.entry(edition.revision).or_default().insert(edition.number, (edition, record));
    }
    let ends = revisions.iter().filter_map(|(revision, editions)| {
        let (_, (_, record)) = editions.first_key_value()?;
        let (_, (newest, _)) = editions.last_key_value()?;
        Some((*revision, *record, newest))
    });
    ends.map(|(revision, record, newest)| {
        let running = live.iter().find(|(_, live)| watch::revision(live).unwrap_or_default() == revision);
        let note = |name: &str| record.metadata.annotations.as_ref()?.get(name).cloned();
        Recorded {
            revision,
            time: record.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()),
            images: newest.deployment().map(images).unwrap_or_default(),
            live: running.map(|(track, _)| *track),
            changed: running.is_some_and(|(_, live)| is_changed(newest, live)),
            run: note(RUN),
            epoch: note(EPOCH).and_then(|epoch| epoch.parse().ok()),
            cause: newest.deployment().and_then(|deployment| {
                deployment.pointer("/metadata/annotations")?.get(CAUSE)?.as_str().map(str::to_owned)
            }),
        }
    })
    .collect()
}

/// Whether the pods that run are others than were applied.
fn is_changed(edition: &Edition, live: &Value) -> bool {
    let spec = |json: &Value| json.pointer("/spec/template/spec").cloned();
    match (edition.deployment().and_then(spec), spec(live)) {
        (Some(wanted), Some(live)) => edition.revision > 0 && !diff::is_within(&wanted, &live),
        _ => false,
    }
}

fn images(deployment: &Value) -> Vec<String> {
    let lists = ["initContainers", "containers"].map(|list| deployment.pointer(&format!("/spec/template/spec/{list}")));
    let containers = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    containers.filter_map(|container| container.get("image")?.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(revision: u64, images: &[&str]) -> Recorded {
        Recorded {
            revision,
            time: Some(format!("2026-01-0{revision}T00:00:00Z")),
            images: images.iter().map(|image| format!("{image}@sha256:{}", "0123456789abcdef".repeat(4))).collect(),
            live: None,
            changed: false,
            run: None,
            epoch: None,
            cause: None,
        }
    }

    #[test]
    fn a_history_is_a_table_of_what_is_known() {
        let (namespace, service) = ("shop".parse().unwrap(), "web".parse().unwrap());
        let mut history = History { namespace, service, revisions: Vec::new() };
        assert_eq!(history.to_string(), "nothing of web in shop is recorded");
        assert!(history.has_no(3).report().contains("revision 3 of web in shop is not kept; none is"));
        let (first, mut second) = (recorded(1, &["web"]), recorded(2, &["web", "log"]));
        (second.live, second.epoch, second.run) = (Some(Track::Stable), Some(12), Some("run-1".to_owned()));
        history.revisions = vec![first, second];
        let expected = [
            "web in shop",
            "REVISION  NOW   SINCE                 IMAGES                                            RUN    EPOCH",
            "1               2026-01-01T00:00:00Z  web@sha256:0123456789ab",
            "2         live  2026-01-02T00:00:00Z  web@sha256:0123456789ab, log@sha256:0123456789ab  run-1  12",
        ];
        assert_eq!(history.to_string().lines().collect::<Vec<_>>(), expected);
        assert_eq!(history.before(), Some(1));
        history.revisions[1].changed = true;
        assert!(history.has_no(3).report().contains("kept: 1, 2 (live, changed by others)"));
    }
}
