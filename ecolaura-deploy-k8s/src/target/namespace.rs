//! The namespace of a workload, where it is missing and may be made.

use ecolaura_deploy_core::{Context, ErrorKind, Result, backend::ApplyRequest};
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
    let listed = objects.iter().any(|object| object.key.is("", "Namespace") && object.key.name == namespace.as_str());
    if listed || !inner.create_namespaces {
        return Ok(None);
    }
    let kind = Kind { namespaced: false, ..Kind::known("v1", "Namespace", "namespaces") };
    let key = Key::new("v1", "Namespace", None, namespace.as_str());
    if server.get(&kind, &key).await?.is_some() {
        return Ok(None);
    }
    let Some(first) = objects.first() else { return Ok(None) };
    let json = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.as_str(), "labels": {PART: "workload"}}});
    Ok(Some(Wanted { title: key.to_string(), key, json, origin: first.origin.clone(), versioned: false }))
}

/// Makes the namespace where that is asked for: everything else needs it.
pub(super) async fn make_namespace(inner: &Inner, cx: &Context, request: &ApplyRequest) -> Result<()> {
    let server = inner.server(cx, &[]);
    let kind = Kind { namespaced: false, ..Kind::known("v1", "Namespace", "namespaces") };
    let key = Key::new("v1", "Namespace", None, request.workload.namespace.as_str());
    match server.get(&kind, &key).await {
        Ok(Some(_)) => return Ok(()),
        // Who may not look at it may still work in it.
        Err(error) if error.kind() != ErrorKind::PermissionDenied => return Err(error),
        _ => {}
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
