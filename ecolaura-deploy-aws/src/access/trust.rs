//! Who may take on a role: documents for workflows on GitHub and for pods of EKS, instead of keys that live long.

use std::fmt;

use ecolaura_deploy_core::{Error, Result};
use serde_json::{Value, json};

use super::document;
use crate::Scope;

const OPERATION: &str = "access.trust";
const GITHUB: &str = "token.actions.githubusercontent.com";

/// Which runs of a repository's workflows are let in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Workflow {
    /// Those of a deployment environment, whose rules on GitHub then say who may start them.
    Environment(String),
    /// Those on a branch.
    Branch(String),
    /// Those on a tag.
    Tag(String),
}

impl fmt::Display for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment:{name}"),
            Self::Branch(name) => write!(f, "ref:refs/heads/{name}"),
            Self::Tag(name) => write!(f, "ref:refs/tags/{name}"),
        }
    }
}

impl Workflow {
    fn name(&self) -> &str {
        match self {
            Self::Environment(name) | Self::Branch(name) | Self::Tag(name) => name,
        }
    }
}

/// Lets in the workflows of `repository` (`owner/name`) that `workflow` names, by GitHub's identity provider.
///
/// Fails with [`InvalidInput`](ecolaura_deploy_core::ErrorKind::InvalidInput) where a name has a `*` or `?`: one
/// repository is trusted, not those that look like it.
///
/// ```
/// use ecolaura_deploy_aws::{Scope, access::trust::{Workflow, github}};
/// let scope = Scope::new("eu-central-1", "111122223333");
/// let trust = github(&scope, "ecolaura/shop", &Workflow::Environment("production".to_owned()))?;
/// let condition = &trust["Statement"][0]["Condition"]["StringEquals"];
/// assert_eq!(
///     condition["token.actions.githubusercontent.com:sub"],
///     "repo:ecolaura/shop:environment:production",
/// );
/// # Ok::<_, ecolaura_deploy_core::Error>(())
/// ```
pub fn github(scope: &Scope, repository: &str, workflow: &Workflow) -> Result<Value> {
    plain("repository", repository)?;
    plain("workflow", workflow.name())?;
    if repository.split('/').filter(|part| !part.is_empty()).count() != 2 || repository.matches('/').count() != 1 {
        return Err(Error::invalid(OPERATION, format!("`{repository}` is no repository: expected `owner/name`")));
    }
    let subject = format!("repo:{repository}:{workflow}");
    Ok(web_identity(scope, GITHUB, &subject))
}

/// Lets in the pods of `service_account` in `namespace` by the cluster's own identity provider, `issuer`
/// (`oidc.eks.eu-central-1.amazonaws.com/id/…`, without a scheme): IAM roles for service accounts.
pub fn service_account(scope: &Scope, issuer: &str, namespace: &str, service_account: &str) -> Result<Value> {
    for (what, name) in [("issuer", issuer), ("namespace", namespace), ("service account", service_account)] {
        plain(what, name)?;
    }
    if issuer.contains("://") {
        return Err(Error::invalid(OPERATION, format!("`{issuer}` has a scheme")).advice("leave `https://` away"));
    }
    Ok(web_identity(scope, issuer, &format!("system:serviceaccount:{namespace}:{service_account}")))
}

/// Lets in the pods of `service_account` in `namespace` of `cluster` by EKS Pod Identity.
pub fn pod_identity(scope: &Scope, cluster: &str, namespace: &str, service_account: &str) -> Result<Value> {
    for (what, name) in [("cluster", cluster), ("namespace", namespace), ("service account", service_account)] {
        plain(what, name)?;
    }
    Ok(document(&[json!({
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": {"StringEquals": {
            "aws:RequestTag/eks-cluster-arn": scope.arn("eks", format_args!("cluster/{cluster}")),
            "aws:RequestTag/kubernetes-namespace": namespace,
            "aws:RequestTag/kubernetes-service-account": service_account,
        }},
    })]))
}

fn web_identity(scope: &Scope, issuer: &str, subject: &str) -> Value {
    let Scope { partition, account, .. } = scope;
    document(&[json!({
        "Effect": "Allow",
        "Principal": {"Federated": format!("arn:{partition}:iam::{account}:oidc-provider/{issuer}")},
        "Action": ["sts:AssumeRoleWithWebIdentity"],
        "Condition": {"StringEquals": {
            format!("{issuer}:aud"): "sts.amazonaws.com",
            format!("{issuer}:sub"): subject,
        }},
    })])
}

/// A name that stands for itself alone, also if somebody reads it as a pattern.
fn plain(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.contains(|c: char| matches!(c, '*' | '?' | '$') || c.is_whitespace() || c.is_control()) {
        let message = format!("`{name}` is no {what} that can be trusted: it is empty, or has a space or one of `*?$`");
        return Err(Error::invalid(OPERATION, message).advice("name one, so that others are not let in too"));
    }
    Ok(())
}
