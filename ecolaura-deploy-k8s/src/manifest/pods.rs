//! Where pods stand in objects.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::Key;

/// Where pod templates stand in kinds that are not Kubernetes' own: paths such as `spec.template`, by `group/Kind`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Templates(pub(crate) BTreeMap<String, Vec<String>>);

impl Templates {
    /// The paths of the things in an object that have a pod's `metadata` and `spec`; the empty one is the object itself.
    pub(crate) fn of(&self, key: &Key) -> Vec<&str> {
        match (key.group(), key.kind.as_str()) {
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch", "Job")
            | ("", "ReplicationController") => vec!["spec.template"],
            ("batch", "CronJob") => vec!["spec.jobTemplate.spec.template"],
            ("", "Pod") => vec![""],
            ("", "PodTemplate") => vec!["template"],
            (group, kind) => {
                let declared = self.0.get(&format!("{group}/{kind}"));
                declared.into_iter().flatten().map(String::as_str).collect()
            }
        }
    }
}

/// `spec.template` as a JSON pointer.
pub(super) fn pointer(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("/{}", path.replace('.', "/")) }
}

/// The containers of a pod's `spec`, those that run first included.
pub(crate) fn containers(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    const LISTS: [&str; 2] = ["initContainers", "containers"];
    let lists = spec.as_object_mut().into_iter().flat_map(|spec| spec.iter_mut());
    let lists = lists.filter(|(key, _)| LISTS.contains(&key.as_str()));
    lists.flat_map(|(_, list)| list.as_array_mut().into_iter().flatten())
}

/// The labels of the pods that an object makes.
pub(crate) fn template_labels(json: &Value) -> BTreeMap<&str, &str> {
    texts(json.pointer("/spec/template/metadata/labels"))
}

/// The texts of an object of texts.
pub(crate) fn texts(map: Option<&Value>) -> BTreeMap<&str, &str> {
    let entries = map.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}
