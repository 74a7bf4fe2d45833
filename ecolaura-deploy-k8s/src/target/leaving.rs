//! What left the manifests of a workload with a name.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{Result, backend::ApplyRequest};

use super::live::json_of;
use crate::{
    edition, inventory,
    lease::Hold,
    object::Key,
    order,
    reconcile::{Examined, Server},
};

/// What left the manifests of a workload with a name.
pub(super) enum Leaving {
    Goes(Key),
    Stays(Key, String),
}

/// What a workload with a name brought before.
pub(super) async fn inventory_of(server: &Server<'_>, request: &ApplyRequest) -> Result<BTreeSet<Key>> {
    let Some(workload) = &request.workload.name else { return Ok(BTreeSet::new()) };
    inventory::read(server.cx, server.connection, request.workload.namespace.as_str(), workload).await
}

pub(super) async fn leaving(
    server: &Server<'_>,
    request: &ApplyRequest,
    examined: &[Examined],
    known: &BTreeSet<Key>,
) -> Result<Vec<Leaving>> {
    let Some(workload) = &request.workload.name else { return Ok(Vec::new()) };
    let wanted: BTreeSet<_> = examined.iter().map(|examined| examined.wanted.key.identity()).collect();
    let mut leaving = Vec::new();
    for key in known.iter().filter(|key| !wanted.contains(&key.identity()) && !is_version(key)) {
        let Some(kind) = server.kind(key).await? else { continue };
        let Some(live) = server.get(&kind, key).await? else { continue };
        leaving.push(match inventory::stays(key, &json_of(&live), workload) {
            Some(why) => Leaving::Stays(key.clone(), why),
            None => Leaving::Goes(key.clone()),
        });
    }
    Ok(leaving)
}

/// Versions of `ConfigMap`s and `Secret`s go with the editions that name them.
pub(super) fn is_version(key: &Key) -> bool {
    (key.is("", "ConfigMap") || key.is("", "Secret")) && edition::is_version(&key.name)
}

pub(super) async fn prune(
    server: &Server<'_>,
    hold: &mut Hold,
    request: &ApplyRequest,
    examined: &[Examined],
    known: &BTreeSet<Key>,
) -> Result<()> {
    let mut going = Vec::new();
    for leaving in leaving(server, request, examined, known).await? {
        match leaving {
            Leaving::Goes(key) => going.push(key),
            Leaving::Stays(key, why) => server.cx.warn(format!("{key} is no longer in the manifests and stays: {why}")),
        }
    }
    going.sort_by_key(|key| (order::stage(key), key.clone()));
    hold.keep(server.cx).await?;
    server.delete_all(&going).await
}
