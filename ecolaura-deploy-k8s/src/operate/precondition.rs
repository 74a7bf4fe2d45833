//! Writing over what was seen, and over nothing else.

use ecolaura_deploy_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::{
    diff,
    manifest::set,
    object::Key,
    reconcile::Server,
    target::{apply_json, deployment_kind, json_of},
};

/// How often a status that moved is read anew.
const TRIES: usize = 10;

/// Applies a Deployment as it was kept, if what others wish of it still is as it was `seen`; its status may move. Fails
/// with `Conflict` otherwise.
pub(crate) async fn apply_unchanged(server: &Server<'_>, object: &Value, seen: &Value) -> Result<()> {
    let key = Key::of(object);
    let mut live = seen.clone();
    for _ in 0..TRIES {
        let mut wanted = object.clone();
        let version = live.pointer("/metadata/resourceVersion").cloned();
        set(&mut wanted, &["metadata", "resourceVersion"], json!(version));
        match apply_json(server, &wanted).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            answer => return answer.map(|_| ()),
        }
        let found = server.get(&deployment_kind(), &key).await?.map(|found| json_of(&found));
        // It may have been this write, whose answer was lost.
        if found.as_ref().is_some_and(|found| diff::is_within(object, found)) {
            return Ok(());
        }
        match found.filter(|found| wish(found) == wish(seen)) {
            Some(found) => live = found,
            None => return Err(conflict(&key, "somebody else changed it at the same time")),
        }
    }
    Err(conflict(&key, "it changes all the time"))
}

fn wish(live: &Value) -> (Option<&Value>, Option<&Value>) {
    (live.pointer("/metadata/uid"), live.pointer("/metadata/generation"))
}

fn conflict(key: &Key, why: &str) -> Error {
    Error::new(ErrorKind::Conflict, "cluster.restore", format!("{key} was not brought back: {why}"))
        .advice("look at what it is now; then do it again")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ecolaura_deploy_core::Context;

    use super::*;
    use crate::{
        fake_server::{Answer, Asked, FakeServer},
        object::Kinds,
        ownership,
        reconcile::Permissions,
    };

    fn deployment(version: &str, generation: u64) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "1", "resourceVersion": version, "generation": generation},
            "spec": {"replicas": generation}})
    }

    /// Applies what was seen as version 1, generation 1, where the server has `live` by now; what was sent.
    async fn applied_over(live: Value) -> (Result<()>, Vec<Value>) {
        let refused = AtomicUsize::new(0);
        let server = FakeServer::start(move |asked: &Asked| match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/apis/apps/v1") => Answer::json(&json!({"groupVersion": "apps/v1", "resources":
                [{"name": "deployments", "singularName": "deployment", "kind": "Deployment", "namespaced": true, "verbs": []}]})),
            ("GET", _) => Answer::json(&live),
            _ if refused.fetch_add(1, Ordering::SeqCst) == 0 => {
                Answer::status(409, "Conflict", "the object has been modified")
            }
            _ => Answer::json(&live),
        })
        .await;
        let cx = Context::new("test".parse().unwrap());
        let connection = server.connection(&cx).await;
        let kinds = Kinds::default();
        let (permissions, ownership) = (Permissions::default(), &ownership::NONE);
        let to = Server { cx: &cx, connection: &connection, kinds: &kinds, permissions, ownership, salt: &[] };
        let mut wanted = deployment("", 9);
        wanted["metadata"] = json!({"name": "web", "namespace": "shop"});
        let answer = apply_unchanged(&to, &wanted, &deployment("1", 1)).await;
        let sent = server.asked().into_iter().filter(|asked| asked.method == "PATCH");
        (answer, sent.map(|asked| asked.body["metadata"]["resourceVersion"].clone()).collect())
    }

    #[tokio::test]
    async fn a_status_that_moved_is_no_change_of_anybody() {
        let (answer, sent) = applied_over(deployment("2", 1)).await;
        answer.unwrap();
        assert_eq!(sent, ["1", "2"]);
    }

    #[tokio::test]
    async fn what_somebody_else_changed_is_not_overwritten() {
        let (answer, sent) = applied_over(deployment("2", 2)).await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), sent), (ErrorKind::Conflict, vec![json!("1")]));
        assert!(
            error.report().contains("Deployment shop/web was not brought back: somebody else"),
            "{}",
            error.report()
        );
    }

    #[tokio::test]
    async fn a_write_whose_answer_was_lost_is_seen_to_be_done() {
        let (answer, sent) = applied_over(deployment("2", 9)).await;
        answer.unwrap();
        assert_eq!(sent, ["1"]);
    }
}
