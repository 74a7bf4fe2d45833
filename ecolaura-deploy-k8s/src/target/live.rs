//! What runs.

use std::collections::BTreeMap;

use ecolaura_deploy_core::{ErrorKind, Result, vocabulary::Name};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::{ResourceExt as _, api::ListParams, core::DynamicObject};
use serde_json::Value;

use super::{deployment_key, deployment_kind};
use crate::{
    error::Call,
    object::Kind,
    reconcile::{SEVERAL, Server},
    render::{Live, candidate_name},
};

/// The Deployments of `services` and beside them, and the autoscalers of the namespace.
pub(super) async fn live(server: &Server<'_>, namespace: &Name, services: &[&str]) -> Result<Live> {
    let mut live = Live::default();
    let wanted = services.iter().flat_map(|service| [(*service).to_owned(), candidate_name(service)]).collect();
    let mut found = deployments(server, namespace, wanted).await?;
    for service in services {
        let mut take = |name: &str, into: &mut BTreeMap<String, Value>| {
            into.extend(found.remove(name).map(|deployment| ((*service).to_owned(), deployment)));
        };
        take(service, &mut live.stable);
        take(&candidate_name(service), &mut live.candidates);
    }
    live.autoscalers = autoscalers(server, namespace).await?;
    Ok(live)
}

/// Those of `names` that are there: one list where there are several, where it is allowed.
async fn deployments(server: &Server<'_>, namespace: &Name, names: Vec<String>) -> Result<BTreeMap<String, Value>> {
    let kind = deployment_kind();
    if names.len() >= SEVERAL {
        let call = Call::reads("cluster.read", format!("Deployments of {namespace}"));
        let (kind, all) = (&kind, &ListParams::default());
        let list = async |client| kind.api(client, Some(namespace.as_str())).list(all).await;
        match server.connection.find(server.cx, call, list).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            found => {
                let named = found?.into_iter().flatten().map(|object| (object.name_any(), with_kind(object, kind)));
                return Ok(named.collect());
            }
        }
    }
    let kind = &kind;
    let asked = stream::iter(names).map(|name| async move {
        let found = server.get(kind, &deployment_key(namespace, &name)).await?;
        Ok(found.map(|found| (name, json_of(&found))))
    });
    let found: Result<Vec<_>> = asked.buffer_unordered(server.parallel()).try_collect().await;
    Ok(found?.into_iter().flatten().collect())
}

/// The autoscalers of a namespace; none where they may not be read, which is told.
pub(crate) async fn autoscalers(server: &Server<'_>, namespace: &Name) -> Result<Vec<Value>> {
    let kind = Kind::known("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers");
    let call = Call::reads("cluster.read", format!("autoscalers of {namespace}"));
    let list = async |client| kind.api(client, Some(namespace.as_str())).list(&ListParams::default()).await;
    match server.connection.find(server.cx, call, list).await {
        Ok(found) => Ok(found.into_iter().flatten().map(|object| with_kind(object, &kind)).collect()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            server.cx.warn("autoscalers may not be read here: replicas are set whether or not one has them");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Of what is in a list the server does not say the kind.
fn with_kind(mut object: DynamicObject, kind: &Kind) -> Value {
    object.types.get_or_insert_with(|| kube::core::TypeMeta {
        api_version: kind.resource.api_version.clone(),
        kind: kind.resource.kind.clone(),
    });
    json_of(&object)
}

pub(crate) fn json_of(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
