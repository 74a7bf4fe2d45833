//! Objects by kind: known ones checked, others refused or noted.

use std::collections::BTreeMap;

use super::{
    check::{Shape, check},
    schema,
};
use crate::{
    backend::Workload,
    manifest::{Field, Notes, Object},
};

/// The objects that matter, by kind.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    pub(super) deployments: Vec<Field<'a>>,
    pub(super) services: Vec<Field<'a>>,
    pub(super) config_maps: Vec<Field<'a>>,
    pub(super) secrets: Vec<Field<'a>>,
}

const KNOWN: &[(&str, &str, &Shape)] = &[
    ("Deployment", "apps/v1", &schema::DEPLOYMENT),
    ("Service", "v1", &schema::SERVICE),
    ("ConfigMap", "v1", &schema::CONFIG_MAP),
    ("Secret", "v1", &schema::SECRET),
    ("Namespace", "v1", &schema::NAMESPACE),
];

/// What runs programs, and would be missed.
const OTHER_WORKLOADS: &[&str] =
    &["CronJob", "DaemonSet", "Job", "Pod", "ReplicaSet", "ReplicationController", "StatefulSet"];

impl<'a> Objects<'a> {
    pub(super) fn sort(loaded: &'a [Object], workload: &Workload, notes: &'a Notes) -> Self {
        let mut objects = Self::default();
        let mut seen: BTreeMap<(&str, &str), &Object> = BTreeMap::new();
        for object in loaded {
            let field = object.field(notes);
            let Some(kind) = known_kind(&field) else { continue };
            namespace(&field, workload);
            let before = seen.insert((kind, &object.origin.name), object).map(|before| &before.origin);
            if let Some(before) = before.filter(|before| !before.name.is_empty()) {
                field.problem(format!("is there already, in {}, document {}", before.file, before.document));
            }
            match kind {
                "Deployment" => objects.deployments.push(field),
                "Service" => objects.services.push(field),
                "ConfigMap" => objects.config_maps.push(field),
                "Secret" => objects.secrets.push(field),
                _ => {}
            }
        }
        objects
    }
}

/// The kind, checked, if it is one that matters.
fn known_kind(field: &Field<'_>) -> Option<&'static str> {
    if field.node.entries().is_empty() {
        field.expected("an object of Kubernetes");
        return None;
    }
    let Some(kind) = field.text_of("kind") else {
        field.missing("kind", "`Deployment`, `Service`, `ConfigMap`, `Secret` or `Namespace`");
        return None;
    };
    let Some((kind, version, shape)) = KNOWN.iter().find(|(known, ..)| *known == kind) else {
        other_kind(field, kind);
        return None;
    };
    check(field, shape);
    if let Some(found) = field.get("apiVersion").filter(|found| found.text().is_some_and(|text| text != *version)) {
        found.expected(&format!("`{version}` for a {kind}"));
    }
    Some(kind)
}

fn other_kind(field: &Field<'_>, kind: &str) {
    let near = KNOWN.iter().map(|(known, ..)| known).find(|known| strsim::damerau_levenshtein(known, kind) <= 2);
    if OTHER_WORKLOADS.contains(&kind) {
        field.problem("is not run here: only a Deployment is; take it out of these manifests");
    } else if let (Some(near), Some(entry)) = (near, field.get("kind")) {
        entry.problem(format!("is \"{kind}\"; did you mean `{near}`?"));
    } else {
        field.warning("is not honoured: objects of this kind do nothing here");
    }
}

fn namespace(field: &Field<'_>, workload: &Workload) {
    if let Some(found) = field.get("metadata.namespace")
        && found.text().is_some_and(|text| text != workload.namespace.as_str())
    {
        found.expected(&format!("`{}`, where this workload goes, or none", workload.namespace));
    }
}
