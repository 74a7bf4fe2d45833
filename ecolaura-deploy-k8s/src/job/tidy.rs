//! Jobs that are over: their logs are kept for a while, and then they go.

use ecolaura_deploy_core::{Context, Result, vocabulary::Name};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};

use super::{JOB, OPERATION};
use crate::{Connection, error::Call};

/// How many Jobs of one name are kept that have ended.
const KEPT: usize = 10;

/// Takes the oldest Jobs of `name` away that have ended.
pub(crate) async fn tidy(cx: &Context, connection: &Connection, namespace: &str, name: &Name) -> Result<()> {
    let params = &ListParams::default().labels(&format!("{JOB}={name}"));
    let list = async |client| Api::<Job>::namespaced(client, namespace).list(params).await;
    let call = Call::reads(OPERATION, "the Jobs of this name");
    let mut ended: Vec<Job> = connection.call(cx, call, list).await?.items;
    ended.retain(|job| has_ended(Some(job)));
    ended.sort_by_key(|job| std::cmp::Reverse(job.metadata.creation_timestamp.as_ref().map(|time| time.0)));
    for job in ended.iter().skip(KEPT) {
        let Some(name) = job.metadata.name.as_deref() else { continue };
        let params = &DeleteParams::background();
        let delete = async |client| Api::<Job>::namespaced(client, namespace).delete(name, params).await.map(drop);
        connection.find(cx, Call::writes(OPERATION, "delete", name), delete).await?;
    }
    Ok(())
}

/// Gone counts as well.
pub(super) fn has_ended(job: Option<&Job>) -> bool {
    let Some(job) = job else { return true };
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True")
}
