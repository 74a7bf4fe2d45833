//! Whether the rights are there, before anything is done.

use std::fmt;

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, api::PostParams};
use serde::{Deserialize, Serialize};

use super::{Need, Needs, Rules, Subject};
use crate::{Connection, error::Call};

const OPERATION: &str = "cluster.access";

/// Questions that are asked at the same time.
const AT_ONCE: usize = 16;

/// A right that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// Which.
    pub need: Need,
    /// What the server says of it; often nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// All rights that are missing, and the rules that would grant them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Missing {
    /// For whom.
    pub user: String,
    /// Each right.
    pub refusals: Vec<Refusal>,
    /// What grants all of them and nothing else.
    pub rules: Rules,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}` may not:", self.user)?;
        for refusal in &self.refusals {
            match &refusal.reason {
                Some(reason) => writeln!(f, "  {} ({reason})", refusal.need)?,
                None => writeln!(f, "  {}", refusal.need)?,
            }
        }
        write!(f, "This grants it:\n{}", self.rules)
    }
}

impl Missing {
    /// As the error of what must not begin.
    pub fn into_error(self) -> Error {
        let needs: Vec<String> = self.refusals.iter().map(|refusal| refusal.need.to_string()).collect();
        Error::new(ErrorKind::PermissionDenied, OPERATION, format!("`{}` may not {}", self.user, needs.join(", ")))
            .advice(format!("grant it:\n{}", self.rules))
    }
}

impl Needs {
    /// Asks the server for each of these rights whether `connection` has it, and answers with all that are missing;
    /// `None` if there are none. `role` is what the roles that would grant them are called.
    ///
    /// Changes nothing. A server answers by its rules: that an admission policy would refuse, it does not tell.
    pub async fn missing(&self, cx: &Context, connection: &Connection, role: &str) -> Result<Option<Missing>> {
        if self.0.is_empty() || refused(cx, connection, &Need::new("*", "*", "*")).await?.is_none() {
            return Ok(None);
        }
        let asked = self.iter().cloned().map(|need| async move { refused(cx, connection, &need).await });
        let found: Vec<Option<Refusal>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        let refusals: Vec<Refusal> = found.into_iter().flatten().collect();
        if refusals.is_empty() {
            return Ok(None);
        }
        let user = connection.check(cx).await?.user;
        let needs: Self = refusals.iter().map(|refusal| refusal.need.clone()).collect();
        let rules = needs.rules(role, &Subject::of_user(&user));
        Ok(Some(Missing { user, refusals, rules }))
    }
}

async fn refused(cx: &Context, connection: &Connection, need: &Need) -> Result<Option<Refusal>> {
    let call = Call::reads(OPERATION, format!("whether this account may {need}"));
    let review = SelfSubjectAccessReview { spec: spec(need), ..SelfSubjectAccessReview::default() };
    let answer = connection
        .call(cx, call, |client| {
            let review = review.clone();
            async move { Api::<SelfSubjectAccessReview>::all(client).create(&PostParams::default(), &review).await }
        })
        .await?;
    let status = answer.status.unwrap_or_default();
    if status.allowed {
        return Ok(None);
    }
    let reason = [status.reason, status.evaluation_error].into_iter().flatten().find(|reason| !reason.is_empty());
    Ok(Some(Refusal { need: need.clone(), reason }))
}

fn spec(need: &Need) -> SelfSubjectAccessReviewSpec {
    // Reading a namespace is a right within it.
    let itself = need.group.is_empty() && need.resource == "namespaces" && need.name.is_none();
    let resource_attributes = Some(ResourceAttributes {
        group: Some(need.group.clone()),
        resource: Some(need.resource.clone()),
        subresource: need.subresource.clone(),
        verb: Some(need.verb.clone()),
        namespace: need.namespace.clone(),
        name: need.name.clone().or_else(|| need.namespace.clone().filter(|_| itself)),
        ..ResourceAttributes::default()
    });
    SelfSubjectAccessReviewSpec { resource_attributes, ..SelfSubjectAccessReviewSpec::default() }
}
