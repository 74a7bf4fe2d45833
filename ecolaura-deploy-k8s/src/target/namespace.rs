//! The namespace of a workload, where it is missing and may be made.

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result, backend::ApplyRequest};
use serde_json::json;

use super::Inner;
use crate::{
    manifest::{self, Surroundings, Wanted},
    names::PART,
    object::{Key, Kind},
    reconcile::{Server, Trial},
};

/// The namespace as an object, where it is missing and may be made.
pub(super) async fn namespace_object(
    inner: &Inner,
    server: &Server<'_>,
    request: &ApplyRequest,
    objects: &[Wanted],
) -> Result<Option<Wanted>> {
    let namespace = &request.workload.namespace;
    let key = key(request);
    let found = is_there(server, &key).await;
    let listed = objects.iter().any(|object| object.key.is("", "Namespace") && object.key.name == namespace.as_str());
    if listed || !inner.create_namespaces {
        return found.map(|_| None).or_else(whoever_may_not_look);
    }
    if found? {
        return Ok(None);
    }
    let Some(first) = objects.first() else { return Ok(None) };
    let json = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.as_str(), "labels": {PART: "workload"}}});
    Ok(Some(Wanted { title: key.to_string(), key, json, origin: first.origin.clone(), versioned: false }))
}

fn key(request: &ApplyRequest) -> Key {
    Key::new("v1", "Namespace", None, request.workload.namespace.as_str())
}

/// Whether the namespace is there. One that goes takes nothing new in, and what is changed in it goes all the same.
async fn is_there(server: &Server<'_>, key: &Key) -> Result<bool> {
    let kind = Kind { namespaced: false, ..Kind::known("v1", "Namespace", "namespaces") };
    let found = server.get(&kind, key).await?;
    if found.as_ref().is_some_and(|found| found.metadata.deletion_timestamp.is_some()) {
        let message = format!("the namespace {} is being terminated", key.name);
        return Err(Error::new(ErrorKind::Conflict, "cluster.namespace", message)
            .advice("find out who deletes it, and apply again once it is gone"));
    }
    Ok(found.is_some())
}

/// Who may not look at a namespace may still work in it.
fn whoever_may_not_look<T: Default>(error: Error) -> Result<T> {
    if error.kind() == ErrorKind::PermissionDenied { Ok(T::default()) } else { Err(error) }
}

/// Makes the namespace where that is asked for: everything else needs it.
pub(super) async fn make_namespace(inner: &Inner, cx: &Context, request: &ApplyRequest) -> Result<()> {
    let server = inner.server(cx, &[]);
    if is_there(&server, &key(request)).await.or_else(whoever_may_not_look)? {
        return Ok(());
    }
    let surroundings = Surroundings { templates: inner.templates.clone(), ..Surroundings::default() };
    let objects = manifest::read(&request.workload, surroundings, cx.redactor()).await?.objects;
    let namespace = request.workload.namespace.as_str();
    let listed = objects.iter().find(|object| object.key.is("", "Namespace") && object.key.name == namespace).cloned();
    let made = namespace_object(inner, &server, request, &objects).await?;
    let Some(wanted) = listed.or(made) else { return Ok(()) };
    let examined = server.examine(vec![wanted], Trial::Known(&inner.tried)).await?;
    server.apply_all(&examined.iter().collect::<Vec<_>>()).await?;
    Ok(())
}
