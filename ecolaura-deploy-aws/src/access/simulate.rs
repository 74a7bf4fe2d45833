//! Asking IAM, before the first effect, whether what a plan needs is allowed to who we are.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, marker::PhantomData};

use async_trait::async_trait;
use aws_sdk_iam::{
    Client,
    types::{ContextEntry, ContextKeyTypeEnum as Kind, EvaluationResult, PolicyEvaluationDecisionType as Decision},
};
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Step, StepPlan},
};
use serde::{Deserialize, Serialize};

use super::{Grant, Policy};
use crate::{Account, Scope};

const OPERATION: &str = "access.simulate";

/// Something that a plan needs and that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Missing {
    /// The action.
    pub action: String,
    /// On what.
    pub resource: String,
    /// Why: nothing allows it, or what denies it.
    pub why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: {}", self.action, self.resource, self.why)
    }
}

/// What IAM says of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// All of it is allowed.
    Allowed {
        /// To whom.
        principal: String,
    },
    /// Some of it is not.
    Missing {
        /// To whom.
        principal: String,
        /// All that is missing, in order.
        missing: Vec<Missing>,
    },
    /// Nothing could be asked.
    NotChecked {
        /// Why.
        why: String,
    },
}

/// Asks IAM whether `policy` is allowed to who we are, by `iam:SimulatePrincipalPolicy`. Changes nothing.
///
/// IAM looks at the policies of the role or the user, at its boundary and at those of the organization. It does not look
/// at those of a session, nor at those of resources: what only a bucket or a key allows is said to be missing.
///
/// Where it may not be asked, there is nobody to ask about, or the answer depends on what only a real call has, that is
/// the answer, with the reason.
pub async fn simulate(account: &Account, cx: &Context, policy: &Policy) -> Result<Answer> {
    let identity = account.identity(cx).await?;
    let client = Client::new(account.sdk_config());
    let principal = match principal(&identity.arn) {
        Principal::Named(arn) => arn,
        Principal::Role { name, arn } => whole(account, cx, &client, &name, arn).await?,
        Principal::Nobody(why) => return Ok(Answer::NotChecked { why: why.to_owned() }),
    };
    let (mut missing, mut open) = (BTreeSet::new(), BTreeSet::new());
    for grant in policy.grants() {
        match evaluate(account, cx, &client, &principal, grant).await {
            Ok(found) => {
                let (sure, unsure): (Vec<_>, Vec<_>) = found.into_iter().partition(|denied| denied.without.is_empty());
                missing.extend(sure.into_iter().map(|denied| denied.missing));
                open.extend(unsure.into_iter().map(Denied::open));
            }
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => {
                return Ok(Answer::NotChecked { why: error.report() });
            }
            Err(error) => return Err(error),
        }
    }
    if missing.is_empty() && open.is_empty() {
        return Ok(Answer::Allowed { principal });
    }
    if missing.is_empty() {
        return Ok(Answer::NotChecked { why: open.into_iter().collect::<Vec<_>>().join("; ") });
    }
    Ok(Answer::Missing { principal, missing: missing.into_iter().collect() })
}

/// What asking takes, of the role or the user `principal`.
pub fn simulating(principal: &str) -> Grant {
    // Only of roles the path has to be asked for.
    let is_role = principal.contains(":role/");
    let actions = ["iam:SimulatePrincipalPolicy", "iam:GetRole"];
    Grant::new(actions.into_iter().take(if is_role { 2 } else { 1 }), [principal])
}

/// Whom IAM can be asked about.
#[derive(Debug, PartialEq, Eq)]
enum Principal {
    /// By its ARN.
    Named(String),
    /// A role, whose path its sessions do not tell.
    Role { name: String, arn: String },
    /// Nobody, and why.
    Nobody(&'static str),
}

fn principal(arn: &str) -> Principal {
    let mut parts = arn.splitn(6, ':');
    let (partition, service) = (parts.nth(1).unwrap_or_default(), parts.next().unwrap_or_default());
    let (account, rest) = (parts.nth(1).unwrap_or_default(), parts.next().unwrap_or_default());
    match (service, rest.split_once('/')) {
        ("sts", Some(("assumed-role", session))) => {
            let name = session.split('/').next().unwrap_or_default().to_owned();
            let arn = format!("arn:{partition}:iam::{account}:role/{name}");
            Principal::Role { name, arn }
        }
        ("sts", Some(("federated-user", _))) => Principal::Nobody("IAM cannot be asked about federated users"),
        ("iam", None) if rest == "root" => {
            Principal::Nobody("this is the root user of the account, to whom everything is allowed: use a role instead")
        }
        ("iam", Some(_)) => Principal::Named(arn.to_owned()),
        _ => Principal::Nobody("nobody knows what kind of identity this is"),
    }
}

/// The ARN of a role with its path, if we may ask for it.
async fn whole(account: &Account, cx: &Context, client: &Client, name: &str, arn: String) -> Result<String> {
    let call = account.reads((cx, OPERATION), "iam:GetRole", &arn);
    match call.send(client.get_role().role_name(name).send()).await {
        Ok(answer) => Ok(answer.role.map_or(arn, |role| role.arn)),
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => Ok(arn),
        Err(error) => Err(error),
    }
}

async fn evaluate(
    account: &Account,
    cx: &Context,
    client: &Client,
    principal: &str,
    grant: &Grant,
) -> Result<Vec<Denied>> {
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let call = account.reads((cx, OPERATION), "iam:SimulatePrincipalPolicy", principal);
        let request = client.simulate_principal_policy().policy_source_arn(principal).set_marker(next);
        let request = request.set_action_names(Some(grant.actions().map(str::to_owned).collect()));
        let request = request.set_resource_arns(Some(grant.resources().map(str::to_owned).collect()));
        let page = call.send(request.set_context_entries(Some(context(grant, account.region()))).send()).await?;
        found.extend(page.evaluation_results().iter().flat_map(denied));
        next = page.marker.filter(|_| page.is_truncated);
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// Services whose calls are all made to one region, whatever the account's is.
const GLOBAL: [&str; 4] = ["cloudfront:", "iam:", "organizations:", "route53:"];

/// What will be so when the calls of a grant are made: its conditions are fulfilled, and they go to `region`.
fn context(grant: &Grant, region: &str) -> Vec<ContextEntry> {
    const REGION: &str = "aws:RequestedRegion";
    let keys = grant.conditions.iter().flat_map(|(operator, keys)| keys.iter().map(move |known| (operator, known)));
    let mut entries: Vec<_> = keys
        .map(|(operator, (key, values))| entry(key, kind(operator, values.len() > 1), values.iter().cloned().collect()))
        .collect();
    let is_global = |action: &str| GLOBAL.iter().any(|service| action.starts_with(service));
    if !grant.actions().any(is_global) && !entries.iter().any(|known| known.context_key_name() == Some(REGION)) {
        entries.push(entry(REGION, Kind::String, vec![region.to_owned()]));
    }
    entries
}

fn entry(key: &str, kind: Kind, values: Vec<String>) -> ContextEntry {
    ContextEntry::builder().context_key_name(key).context_key_type(kind).set_context_key_values(Some(values)).build()
}

fn kind(operator: &str, several: bool) -> Kind {
    let plain = operator.rsplit(':').next().unwrap_or_default();
    match (plain, several) {
        (plain, false) if plain.starts_with("Numeric") => Kind::Numeric,
        (plain, true) if plain.starts_with("Numeric") => Kind::NumericList,
        (plain, false) if plain.starts_with("Date") => Kind::Date,
        (plain, true) if plain.starts_with("Date") => Kind::DateList,
        (plain, false) if plain.starts_with("Bool") => Kind::Boolean,
        (plain, true) if plain.starts_with("Bool") => Kind::BooleanList,
        (plain, false) if plain.contains("IpAddress") => Kind::Ip,
        (plain, true) if plain.contains("IpAddress") => Kind::IpList,
        (_, false) => Kind::String,
        (_, true) => Kind::StringList,
    }
}

/// Something that IAM does not allow.
struct Denied {
    missing: Missing,
    /// What the policies ask for and IAM was not told: a real call has it, and may be allowed by it.
    without: BTreeSet<String>,
}

impl Denied {
    fn open(self) -> String {
        let (Missing { action, resource, .. }, without) = (self.missing, self.without);
        let without: Vec<_> = without.iter().map(|key| format!("`{key}`")).collect();
        format!("{action} on {resource} depends on {}, which only a call has", without.join(", "))
    }
}

/// What of a result is not allowed: of each resource, where they were told apart.
fn denied(result: &EvaluationResult) -> Vec<Denied> {
    let organization = result.organizations_decision_detail().is_some_and(|known| !known.allowed_by_organizations());
    let denied = |resource: &str, (decision, bounded): (&Decision, bool), by: Vec<&str>, unknown: &[String]| {
        (*decision != Decision::Allowed).then(|| Denied {
            missing: Missing {
                action: result.eval_action_name().to_owned(),
                resource: resource.to_owned(),
                why: why(decision, organization, bounded, &by),
            },
            without: result.missing_context_values().iter().chain(unknown).cloned().collect(),
        })
    };
    let whole =
        result.permissions_boundary_decision_detail().is_some_and(|known| !known.allowed_by_permissions_boundary());
    let specific = result.resource_specific_results();
    if specific.is_empty() {
        let by = result.matched_statements().iter().filter_map(|statement| statement.source_policy_id()).collect();
        let resource = result.eval_resource_name().unwrap_or("*");
        return denied(resource, (result.eval_decision(), whole), by, &[]).into_iter().collect();
    }
    let each = specific.iter().filter_map(|known| {
        let bounded = known.permissions_boundary_decision_detail();
        let bounded = bounded.is_some_and(|known| !known.allowed_by_permissions_boundary());
        let by = known.matched_statements().iter().filter_map(|statement| statement.source_policy_id()).collect();
        let decision = (known.eval_resource_decision(), whole || bounded);
        denied(known.eval_resource_name(), decision, by, known.missing_context_values())
    });
    each.collect()
}

fn why(decision: &Decision, organization: bool, bounded: bool, by: &[&str]) -> String {
    if *decision == Decision::ExplicitDeny {
        return match by {
            [] => "something denies it".to_owned(),
            by => format!("denied by {}", by.join(", ")),
        };
    }
    match (organization, bounded) {
        (true, _) => "no policy of the organization allows it".to_owned(),
        (_, true) => "the permissions boundary does not allow it".to_owned(),
        _ => "no policy allows it".to_owned(),
    }
}

/// Lets a run begin if all that a plan needs is allowed, and says all that is missing otherwise. Put it before everything
/// that has an effect. Where nothing can be asked, it says so and why, and lets the run begin.
#[derive(Debug, Clone)]
pub struct AccessGate<T> {
    account: Account,
    grants: Vec<Grant>,
    types: PhantomData<fn(T) -> T>,
}

impl<T> AccessGate<T> {
    /// Asks about `grants`, what the steps of a plan need.
    pub fn new(account: &Account, grants: impl IntoIterator<Item = Grant>) -> Self {
        Self { account: account.clone(), grants: grants.into_iter().collect(), types: PhantomData }
    }

    /// What asking takes, where the role or the user is `name` (`role/deployer`).
    pub fn grant(&self, scope: &Scope, name: &str) -> Grant {
        simulating(&format!("arn:{}:iam::{}:{name}", scope.partition, scope.account))
    }

    async fn ask(&self, cx: &Context) -> Result<Answer> {
        simulate(&self.account, cx, &Policy::of(self.grants.iter().cloned())).await
    }
}

#[async_trait]
impl<T: Leaf> Step for AccessGate<T> {
    type Input = T;
    type Output = T;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "access gate"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, cx: &Context, subject: Planned<T>) -> Result<StepPlan<T>> {
        let plan = StepPlan::gate(subject.known().cloned());
        Ok(match self.ask(cx).await? {
            Answer::Allowed { .. } => plan,
            Answer::Missing { missing, .. } => {
                missing.iter().fold(plan, |plan, missing| plan.warning(format!("would be refused: {missing}")))
            }
            Answer::NotChecked { why } => plan.warning(format!("whether all is allowed could not be checked: {why}")),
        })
    }

    async fn apply(&self, cx: &Context, subject: T) -> Result<Applied<T, NoUndo>> {
        match self.ask(cx).await? {
            Answer::Allowed { principal } => {
                cx.evidence("access", vec![format!("all that the plan needs is allowed to {principal}")]);
            }
            Answer::NotChecked { why } => cx.warn(format!("whether all is allowed could not be checked: {why}")),
            Answer::Missing { principal, missing } => {
                let lines: Vec<_> = missing.iter().map(ToString::to_string).collect();
                cx.evidence("missing access", lines.clone());
                let message = format!("{principal} lacks {}: {}", lines.len(), lines.join("; "));
                return Err(Error::new(ErrorKind::PermissionDenied, OPERATION, message)
                    .advice("nothing was begun; allow it by the plan's own policy, or by that of the resource"));
            }
        }
        Ok(Applied::new(subject))
    }
}
