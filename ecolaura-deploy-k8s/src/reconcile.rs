//! What applying objects would do, asked of the server without doing it; and doing it.

mod survey;
mod tried;

use std::{collections::BTreeSet, time::Duration};

use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    plan::{Action, Change, World},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    api::{Patch, PatchParams},
    core::{DynamicObject, Status},
};
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) use self::tried::Tried;

use self::survey::{Before, Survey};

use crate::{
    Connection, diff,
    error::{self, Call},
    manifest::{self, Wanted},
    names::{APPLIED, MANAGER},
    object::{Key, Kind, Kinds},
    ownership::Ownership,
};

/// From how many objects of a kind on one list is less to read than each by itself.
pub(crate) const SEVERAL: usize = 16;

/// How long a kind may take from its definition until it is served.
const SERVED: Duration = Duration::from_secs(30);

/// What may be done beyond the ordinary.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Permissions {
    /// Fields of other managers may be taken over.
    pub(crate) force: bool,
    /// Objects whose immutable fields differ may be deleted and made again.
    pub(crate) replace: bool,
}

/// What applying an object comes to.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It is as wanted.
    Keep,
    Create,
    Update {
        lines: Vec<String>,
    },
    /// It must be deleted and made again: these fields do not change otherwise.
    Replace {
        fields: Vec<String>,
    },
    /// What it needs is not there yet, so the server cannot be asked.
    Unchecked {
        why: String,
    },
}

/// Whether the server is asked on trial of what it was asked a moment ago.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trial<'a> {
    /// Asked, and the answers are kept.
    Anew(&'a Tried),
    /// Asked of what there is no answer for.
    Known(&'a Tried),
}

/// An object with what applying it comes to.
#[derive(Debug, Clone)]
pub(crate) struct Examined {
    pub(crate) wanted: Wanted,
    pub(crate) kind: Option<Kind>,
    pub(crate) live: Option<DynamicObject>,
    pub(crate) outcome: Outcome,
}

impl Examined {
    /// As a plan shows it.
    pub(crate) fn change(&self) -> Change {
        let change = |action, reason: &str| Change::new(World::Cluster, &self.wanted.title, action, reason);
        match &self.outcome {
            Outcome::Keep => Change::unchanged(World::Cluster, &self.wanted.title),
            Outcome::Create => change(Action::Create, "not there yet"),
            Outcome::Unchecked { why } => change(Action::Create, why),
            Outcome::Update { lines } => lines.iter().fold(change(Action::Update, "differs"), Change::detail),
            Outcome::Replace { fields } => {
                let change = change(Action::Replace, "a field that cannot change differs");
                fields.iter().fold(change, |change, field| change.detail(format!("{field} is immutable")))
            }
        }
    }
}

/// One cluster, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) connection: &'a Connection,
    pub(crate) kinds: &'a Kinds,
    pub(crate) permissions: Permissions,
    pub(crate) ownership: &'a Ownership,
    /// Makes digests of Secrets say nothing of them.
    pub(crate) salt: &'a [u8],
}

impl Server<'_> {
    /// How many calls are made at the same time.
    pub(crate) fn parallel(&self) -> usize {
        self.cx.limits().parallel_transfers.get()
    }

    /// The kind of an object, as the server has it.
    pub(crate) async fn kind(&self, key: &Key) -> Result<Option<Kind>> {
        self.kinds.find(self.cx, self.connection, &key.api_version, &key.kind).await
    }

    /// A kind whose definition was just accepted: the server serves it a moment later.
    async fn new_kind(&self, key: &Key) -> Result<Kind> {
        let began = Instant::now();
        loop {
            if let Some(kind) = self.kind(key).await? {
                return Ok(kind);
            }
            if began.elapsed() > SERVED {
                let message = format!("the server has no kind `{}` in `{}`", key.kind, key.api_version);
                return Err(Error::new(ErrorKind::NotFound, "cluster.apply", message)
                    .advice("look at the conditions of its definition"));
            }
            self.cx.sleep("cluster.apply", Duration::from_millis(100)).await?;
        }
    }

    /// The object as it is.
    pub(crate) async fn get(&self, kind: &Kind, key: &Key) -> Result<Option<DynamicObject>> {
        let get = async |client| kind.api(client, key.namespace.as_deref()).get(&key.name).await;
        self.connection.find(self.cx, Call::reads("cluster.read", key), get).await
    }

    /// Asks for every object what applying it would do. Fails with every problem at once.
    pub(crate) async fn examine(&self, objects: Vec<Wanted>, trial: Trial<'_>) -> Result<Vec<Examined>> {
        let (coming, survey) = (&Coming::of(&objects), &Survey::of(self, &objects).await?);
        let asked = stream::iter(objects).map(|wanted| self.examine_one(wanted, (coming, survey), trial));
        let answers: Vec<Result<Examined, Problem>> = asked.buffered(self.parallel()).collect().await;
        let (mut examined, mut problems, mut kind) = (Vec::new(), Vec::new(), ErrorKind::InvalidInput);
        for answer in answers {
            match answer {
                Ok(found) => examined.push(found),
                Err(Problem::Call(error)) => return Err(error),
                Err(Problem::Object(found, text)) => {
                    // What somebody has to mend in the manifests comes before what somebody has to grant.
                    if problems.is_empty() || found == ErrorKind::InvalidInput {
                        kind = found;
                    }
                    problems.push(text);
                }
            }
        }
        if problems.is_empty() {
            return Ok(examined);
        }
        let title = match problems.len() {
            1 => String::new(),
            count => format!("{count} objects cannot be applied:\n"),
        };
        let advice = match kind {
            ErrorKind::Conflict => {
                "let the other manager give the field up, leave it out here, or allow taking it over"
            }
            ErrorKind::PermissionDenied => "grant this to the deploying account; nothing was changed",
            _ => "mend the manifests; nothing was changed",
        };
        Err(Error::new(kind, "cluster.plan", format!("{title}{}", problems.join("\n"))).advice(advice))
    }

    async fn examine_one(
        &self,
        mut wanted: Wanted,
        (coming, survey): (&Coming, &Survey),
        trial: Trial<'_>,
    ) -> Result<Examined, Problem> {
        let Some(kind) = self.kind(&wanted.key).await? else {
            return if coming.kinds.contains(&(wanted.key.group().to_owned(), wanted.key.kind.clone())) {
                let why = "its kind is defined by this release; the server checks it then".to_owned();
                Ok(Examined { wanted, kind: None, live: None, outcome: Outcome::Unchecked { why } })
            } else {
                let text = format!(
                    "{}: the server has no kind `{}` in `{}`",
                    wanted.place(),
                    wanted.key.kind,
                    wanted.key.api_version
                );
                Err(Problem::Object(ErrorKind::InvalidInput, text))
            };
        };
        settle(&mut wanted, &kind);
        let (mut live, is_known) = match survey.before(&wanted.key) {
            Before::Applied(live) => (Some(live.clone()), true),
            Before::NotApplied => (None, false),
            Before::Unknown => (self.get(&kind, &wanted.key).await?, true),
        };
        let whole = wanted.digest(self.salt);
        let digest = whole.to_hex()[..16].to_owned();
        let annotations = live.as_ref().and_then(|live| live.metadata.annotations.as_ref());
        let applied =
            annotations.and_then(|annotations| annotations.get(APPLIED)).is_some_and(|found| *found == digest);
        manifest::set(&mut wanted.json, &["metadata", "annotations", APPLIED], json!(digest));
        let is_kept = |live: &DynamicObject| is_as(&wanted.json, live) && !self.ownership.takes_over(live);
        if applied && live.as_ref().is_some_and(is_kept) {
            return Ok(Examined { wanted, kind: Some(kind), live, outcome: Outcome::Keep });
        }
        if let Trial::Known(tried) = trial
            && let Some(outcome) = tried.take(whole, live.as_ref())
        {
            return Ok(Examined { wanted, kind: Some(kind), live, outcome });
        }
        let answer = self.send(&kind, &wanted, true).await?;
        // What was only tried has no version; what is there has one.
        if !is_known && answer.as_ref().map_or(true, |after| after.metadata.resource_version.is_some()) {
            live = self.get(&kind, &wanted.key).await?;
        }
        let outcome = match answer {
            Ok(after) => outcome(live.as_ref(), &after),
            Err(status) => self.refused(&wanted, &status, coming, live.is_some())?,
        };
        let outcome = self.ownership.told(outcome, &wanted, live.as_ref());
        if let Trial::Anew(tried) = trial {
            tried.note(whole, live.as_ref(), &outcome);
        }
        Ok(Examined { wanted, kind: Some(kind), live, outcome })
    }

    /// What the server's no comes to: a way, or a problem.
    fn refused(&self, wanted: &Wanted, status: &Status, coming: &Coming, exists: bool) -> Result<Outcome, Problem> {
        let namespace = wanted.key.namespace.as_deref().unwrap_or_default();
        if status.code == 404 && !exists {
            return if coming.namespaces.contains(namespace) {
                Ok(Outcome::Unchecked { why: "not there yet, nor is its namespace".to_owned() })
            } else {
                let text = format!("{}: there is no namespace `{namespace}`", wanted.place());
                Err(Problem::Object(ErrorKind::NotFound, text))
            };
        }
        if let Some(fields) = immutable(status) {
            if self.permissions.replace {
                return Ok(Outcome::Replace { fields });
            }
            let text = format!(
                "{}: {} cannot be changed in place; undo that change, give the object another name, or allow replacing it",
                wanted.place(),
                fields.join(", ")
            );
            return Err(Problem::Object(ErrorKind::Conflict, text));
        }
        let conflicts = conflicts(status);
        if !conflicts.is_empty() {
            let text = format!("{}: {}", wanted.place(), conflicts.join("; "));
            return Err(Problem::Object(ErrorKind::Conflict, text));
        }
        if is_wrong_type(status) {
            let (_, said) = status.message.split_once("): ").unwrap_or(("", &status.message));
            let text = format!("{}: `{}`", wanted.place(), said.trim_start_matches('.'));
            return Err(Problem::Object(ErrorKind::InvalidInput, text));
        }
        let kind =
            Call::writes("cluster.plan", "apply", "").failed("", &kube::Error::Api(Box::new(status.clone()))).kind();
        if matches!(kind, ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Unauthenticated) {
            let call = Call::writes("cluster.plan", "plan", wanted.place());
            let error = call.failed(self.connection.server(), &kube::Error::Api(Box::new(status.clone())));
            return Err(Problem::Call(error.with_effect(Effect::None)));
        }
        Err(Problem::Object(kind, format!("{}: {}", wanted.place(), error::text(status))))
    }

    /// [`Server::send`], asking once.
    pub(crate) async fn send_once(
        &self,
        kind: &Kind,
        wanted: &Wanted,
        dry: bool,
    ) -> Result<Result<DynamicObject, Status>> {
        let mut params = PatchParams::apply(MANAGER).validation_strict();
        params.force = self.permissions.force;
        params.dry_run = dry;
        let call = if dry {
            Call::reads("cluster.plan", &wanted.key)
        } else {
            Call::writes("cluster.apply", "apply", &wanted.key)
        };
        let (params, patch) = (&params, &Patch::Apply(&wanted.json));
        let apply = async |client| {
            let api = kind.api(client, wanted.key.namespace.as_deref());
            match api.patch(&wanted.key.name, params, patch).await {
                Err(kube::Error::Api(status)) if is_answer(&status) => Ok(Err(*status)),
                Err(error) => Err(error),
                Ok(object) => Ok(Ok(object)),
            }
        };
        self.connection.call(self.cx, call, apply).await
    }

    /// Applies an object that was examined and answers with it as it is then.
    pub(crate) async fn apply(&self, examined: &Examined) -> Result<DynamicObject> {
        let mut wanted = examined.wanted.clone();
        let kind = match (&examined.kind, &examined.live, &examined.outcome) {
            (Some(_), Some(live), Outcome::Keep) => return Ok(live.clone()),
            (Some(kind), ..) => kind.clone(),
            (None, ..) => self.new_kind(&wanted.key).await?,
        };
        if examined.kind.is_none() {
            settle(&mut wanted, &kind);
        }
        if matches!(examined.outcome, Outcome::Replace { .. }) {
            self.delete(&kind, &wanted.key, examined.live.as_ref().and_then(|live| live.metadata.uid.clone())).await?;
        }
        if matches!(examined.outcome, Outcome::Update { .. }) {
            self.take_over(&kind, &wanted, examined.live.as_ref()).await?;
        }
        match self.send(&kind, &wanted, false).await? {
            Ok(object) => Ok(object),
            Err(status) => {
                let conflicts = conflicts(&status);
                if conflicts.is_empty() {
                    let call = Call::writes("cluster.apply", "apply", wanted.place());
                    return Err(call.failed(self.connection.server(), &kube::Error::Api(Box::new(status))));
                }
                let message = format!("{}: {}", wanted.place(), conflicts.join("; "));
                Err(Error::new(ErrorKind::Conflict, "cluster.apply", message)
                    .advice("let the other manager give the field up, leave it out here, or allow taking it over"))
            }
        }
    }

    /// Applies objects that may be applied at the same time; all that can are, also when one cannot. The error names what
    /// was not applied.
    pub(crate) async fn apply_all(&self, examined: &[&Examined]) -> Result<Vec<DynamicObject>> {
        let calls: Vec<_> = examined.iter().map(|examined| self.apply(examined)).collect();
        let answers: Vec<Result<DynamicObject>> = stream::iter(calls).buffered(self.parallel()).collect().await;
        let failed: Vec<String> = answers
            .iter()
            .zip(examined)
            .filter(|(answer, _)| answer.is_err())
            .map(|(_, examined)| examined.wanted.title.clone())
            .collect();
        let all = answers.len();
        answers.into_iter().collect::<Result<Vec<_>>>().map_err(|error| {
            let effect =
                if failed.len() < all && error.effect() == Effect::None { Effect::Partial } else { error.effect() };
            error.with("not applied", failed.join(", ")).with_effect(effect)
        })
    }

    /// Deletes an object, with whatever it made, and waits until it is gone. Of an object with another `uid` nothing is
    /// deleted.
    pub(crate) async fn delete(&self, kind: &Kind, key: &Key, uid: Option<String>) -> Result<()> {
        let params = kube::api::DeleteParams {
            propagation_policy: Some(kube::api::PropagationPolicy::Foreground),
            preconditions: uid.map(|uid| kube::api::Preconditions { uid: Some(uid), resource_version: None }),
            ..Default::default()
        };
        let params = &params;
        let delete = async |client| kind.api(client, key.namespace.as_deref()).delete(&key.name, params).await;
        let found = self.connection.find(self.cx, Call::writes("cluster.delete", "delete", key), delete).await?;
        match found {
            Some(deleted) => {
                crate::watch::until_gone(self, kind, key, deleted.left().and_then(|object| object.metadata.uid)).await
            }
            None => Ok(()),
        }
    }

    async fn delete_one(&self, key: &Key) -> Result<()> {
        match self.kind(key).await? {
            Some(kind) => self.delete(&kind, key, None).await,
            None => Ok(()),
        }
    }

    /// Deletes all of these, the last first.
    pub(crate) async fn delete_all(&self, keys: &[Key]) -> Result<()> {
        let calls: Vec<_> = keys.iter().rev().map(|key| self.delete_one(key)).collect();
        stream::iter(calls).buffered(self.parallel()).try_collect().await
    }
}

/// A way in which an object cannot be applied.
enum Problem {
    Object(ErrorKind, String),
    Call(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

/// What the release itself brings.
#[derive(Debug, Default)]
struct Coming {
    kinds: BTreeSet<(String, String)>,
    namespaces: BTreeSet<String>,
}

impl Coming {
    fn of(objects: &[Wanted]) -> Self {
        let mut coming = Self::default();
        for object in objects {
            let text =
                |pointer: &str| object.json.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            if object.key.is("apiextensions.k8s.io", "CustomResourceDefinition") {
                coming.kinds.insert((text("/spec/group"), text("/spec/names/kind")));
            } else if object.key.is("", "Namespace") {
                coming.namespaces.insert(object.key.name.clone());
            }
        }
        coming
    }
}

/// Gives the object its namespace, or none.
fn settle(wanted: &mut Wanted, kind: &Kind) {
    if kind.namespaced {
        if let Some(namespace) = &wanted.key.namespace {
            manifest::set(&mut wanted.json, &["metadata", "namespace"], json!(namespace));
        }
        return;
    }
    wanted.key.namespace = None;
    if let Some(metadata) = wanted.json.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
    wanted.title = wanted.key.to_string();
}

/// Whether the server said no; otherwise it may be asked again.
fn is_answer(status: &Status) -> bool {
    matches!(status.code, 400..=499) && !matches!(status.code, 401 | 408 | 429) || is_wrong_type(status)
}

/// The server says 500 of an object that does not fit its schema.
fn is_wrong_type(status: &Status) -> bool {
    status.message.contains("failed to create typed patch object")
}

/// Whether applying `wanted` changes nothing in `live`.
fn is_as(wanted: &Value, live: &DynamicObject) -> bool {
    live.metadata.deletion_timestamp.is_none()
        && serde_json::to_value(live).is_ok_and(|live| diff::is_within(wanted, &live))
}

fn outcome(live: Option<&DynamicObject>, after: &DynamicObject) -> Outcome {
    let json = |object: &DynamicObject| serde_json::to_value(object).unwrap_or_default();
    let Some(live) = live else { return Outcome::Create };
    let lines = diff::lines(&json(live), &json(after));
    // What this crate notes for itself is no change that anybody waits for.
    if lines.is_empty() { Outcome::Keep } else { Outcome::Update { lines } }
}

/// The fields that keep an object from being changed, if nothing else does: any other 422 is just a wrong manifest.
fn immutable(status: &Status) -> Option<Vec<String>> {
    const SAID: &[&str] = &[
        "field is immutable",
        "may not change once set",
        "is immutable after creation",
        "updates to statefulset spec for fields other than",
    ];
    let causes = &status.details.as_ref()?.causes;
    let fixed = causes.iter().all(|cause| SAID.iter().any(|said| cause.message.contains(said)));
    (status.code == 422 && !causes.is_empty() && fixed)
        .then(|| causes.iter().map(|cause| cause.field.clone()).collect())
}

/// The fields that others own, each with its owner.
fn conflicts(status: &Status) -> Vec<String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let found = causes.filter(|cause| cause.reason == "FieldManagerConflict");
    found
        .map(|cause| {
            let owner = cause.message.strip_prefix("conflict with ").unwrap_or(&cause.message);
            format!("`{}` belongs to {owner}", cause.field.trim_start_matches('.'))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecolaura_deploy_core::{backend::Workload, redact::Redactor};

    use crate::fake_server::{Answer, FakeServer};

    fn status(code: u16, causes: &[(&str, &str, &str)]) -> Status {
        let causes: Vec<Value> = causes
            .iter()
            .map(|(reason, field, message)| json!({"reason": reason, "field": field, "message": message}))
            .collect();
        serde_json::from_value(json!({"code": code, "details": {"causes": causes}})).unwrap()
    }

    #[test]
    fn only_immutable_fields_ask_for_a_replacement() {
        let selector =
            ("FieldValueInvalid", "spec.selector", "Invalid value: {\"matchLabels\":{}}: field is immutable");
        let wrong = ("FieldValueInvalid", "spec.replicas", "Invalid value: -1: must be greater than or equal to 0");
        assert_eq!(immutable(&status(422, &[selector])), Some(vec!["spec.selector".to_owned()]));
        assert_eq!(immutable(&status(422, &[selector, wrong])), None);
        assert_eq!(immutable(&status(422, &[wrong])), None);
        assert_eq!(immutable(&status(422, &[])), None);
        assert_eq!(immutable(&status(409, &[selector])), None);
    }

    #[test]
    fn conflicts_name_field_and_owner() {
        let conflict = ("FieldManagerConflict", ".spec.replicas", "conflict with \"kubectl-edit\" using apps/v1");
        assert_eq!(conflicts(&status(409, &[conflict])), ["`spec.replicas` belongs to \"kubectl-edit\" using apps/v1"]);
    }

    /// Objects with these names and values, out of a manifest.
    async fn wanted(of: &[(&str, &str)]) -> Vec<Wanted> {
        let documents: Vec<String> = of
            .iter()
            .map(|(name, value)| {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
                    .to_string()
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.yaml");
        std::fs::write(&file, documents.join("\n---\n")).unwrap();
        let workload = Workload::new("shop".parse().unwrap(), [file]);
        let surroundings = manifest::Surroundings::default();
        manifest::read(&workload, surroundings, &Redactor::default()).await.unwrap().objects
    }

    #[tokio::test]
    async fn what_a_plan_asked_an_apply_does_not_ask_again() {
        let there =
            |version: &str| json!({"metadata": {"name": "old", "namespace": "shop", "resourceVersion": version}});
        let server = FakeServer::start(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/api/v1") => Answer::json(&json!({"groupVersion": "v1", "resources":
                [{"name": "configmaps", "singularName": "configmap", "kind": "ConfigMap", "namespaced": true, "verbs": []}]})),
            ("GET", "/api/v1/namespaces/shop/configmaps/new") => Answer::not_found(),
            ("GET", _) => Answer::json(&there("1")),
            _ => Answer::json(&asked.body),
        })
        .await;
        let cx = Context::new("test".parse().unwrap());
        let connection = server.connection(&cx).await;
        let kinds = Kinds::default();
        let (permissions, ownership) = (Permissions::default(), &crate::ownership::NONE);
        let to = Server { cx: &cx, connection: &connection, kinds: &kinds, permissions, ownership, salt: &[] };
        let tried = Tried::default();
        let trials = async |objects: Vec<Wanted>, trial: Trial<'_>| {
            let before = server.asked().len();
            let examined = to.examine(objects, trial).await.unwrap();
            (examined.len(), server.asked()[before..].iter().filter(|asked| asked.query.contains("dryRun")).count())
        };
        let objects = wanted(&[("new", "1"), ("old", "1")]).await;
        let others = wanted(&[("new", "2"), ("old", "1")]).await;
        assert_eq!(trials(objects.clone(), Trial::Known(&tried)).await, (2, 2), "nothing is known");
        assert_eq!(trials(objects.clone(), Trial::Anew(&tried)).await, (2, 2));
        assert_eq!(trials(objects.clone(), Trial::Anew(&tried)).await, (2, 2), "a plan asks each time");
        assert_eq!(trials(others, Trial::Known(&tried)).await, (2, 1), "one is another");
        assert_eq!(trials(objects, Trial::Known(&tried)).await, (2, 1), "an answer holds once");
    }
}
