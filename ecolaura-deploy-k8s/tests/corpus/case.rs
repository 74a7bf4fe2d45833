//! One case of the corpus: objects, and the verdicts that are expected of them.

use std::{fs, path::Path, sync::Arc};

use ecolaura_deploy_k8s::verdict::{Judgement, Mode, Scene, Verdict, Written, judge};
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Event, Pod},
    },
    jiff::Timestamp,
};
use kube::core::DynamicObject;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Where the cases are.
pub(crate) const FOLDER: &str = "tests/corpus/cases";

/// The present in every case.
pub(crate) const NOW: &str = "2026-01-01T00:10:00Z";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Case {
    /// Where it comes from.
    pub(crate) from: String,
    pub(crate) strict: Expected,
    pub(crate) kstatus: Expected,
    /// The object as it was written, where another may have come between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) written: Option<Value>,
    pub(crate) object: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replica_sets: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pods: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<Value>,
}

/// A verdict, with words that it has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Expected {
    Ready,
    Progressing {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        says: Vec<String>,
        /// When it is another although nothing changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
    },
    Failed {
        cause: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        says: Vec<String>,
    },
    Unknown {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        says: Vec<String>,
    },
}

impl Expected {
    /// Whether `found` is this.
    fn is(&self, found: &Judgement) -> bool {
        let all = |says: &[String], said: &str| says.iter().all(|word| said.contains(word));
        match (self, &found.verdict) {
            (Self::Ready, Verdict::Ready) => true,
            (Self::Progressing { says, until }, Verdict::Progressing { message }) => {
                all(says, message) && *until == found.until.map(|until| until.to_string())
            }
            (Self::Failed { cause, says }, Verdict::Failed { cause: found, chain }) => {
                *cause == found.to_string() && all(says, &chain.join("\n"))
            }
            (Self::Unknown { says }, Verdict::Unknown { why }) => all(says, why),
            _ => false,
        }
    }
}

impl Case {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())
    }

    pub(crate) fn expected(&self, mode: Mode) -> &Expected {
        match mode {
            Mode::Kstatus => &self.kstatus,
            _ => &self.strict,
        }
    }

    /// What is true of it.
    pub(crate) fn judge(&self, mode: Mode) -> Result<Judgement, String> {
        let object: DynamicObject = parse(&self.object)?;
        let (replica_sets, pods, events) =
            (all::<ReplicaSet>(&self.replica_sets)?, all::<Pod>(&self.pods)?, all::<Event>(&self.events)?);
        let written = self.written.as_ref().map(parse::<DynamicObject>).transpose()?.map(|object| Written::of(&object));
        let now: Timestamp = NOW.parse().map_err(|error| format!("{NOW}: {error}"))?;
        let mut scene = Scene::new(&object, now);
        (scene.replica_sets, scene.pods, scene.events) = (&replica_sets, &pods, &events);
        (scene.written, scene.mode) = (written.as_ref(), mode);
        Ok(judge(&scene))
    }

    /// Where the verdicts are others than expected.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let wrong = |mode| match self.judge(mode) {
            Ok(found) if self.expected(mode).is(&found) => None,
            Ok(found) => Some(format!("{mode:?}: expected {:?}, found {found:?}", self.expected(mode))),
            Err(error) => Some(error),
        };
        [Mode::Strict, Mode::Kstatus].into_iter().filter_map(wrong).collect()
    }
}

fn parse<T: DeserializeOwned>(json: &Value) -> Result<T, String> {
    serde_json::from_value(json.clone()).map_err(|error| format!("{error}: {json}"))
}

fn all<T: DeserializeOwned>(list: &[Value]) -> Result<Vec<Arc<T>>, String> {
    list.iter().map(|json| parse(json).map(Arc::new)).collect()
}
