//! Security groups as a gate.

use std::marker::PhantomData;

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Admitted, Context, Error, ErrorKind, Result, Verdict,
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Step, StepPlan},
};
use jiff::{civil::Date, tz::TimeZone};

use super::{
    calls::Calls,
    judge::{Finding, GroupPolicy, judge},
};
use crate::{Account, access::Grant};

const OPERATION: &str = "ec2.groups";

/// Which security groups are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Groups {
    /// These, by their ids.
    Ids(Vec<String>),
    /// All that have a tag.
    Tagged {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
}

impl Groups {
    /// These, by their ids: `sg-0123456789abcdef0`.
    pub fn ids<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self::Ids(ids.into_iter().map(Into::into).collect())
    }

    /// All that have the tag `key` with `value`.
    pub fn tagged(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Tagged { key: key.into(), value: value.into() }
    }
}

/// Lets a subject pass if the rules of security groups let in only whom a [`GroupPolicy`] wants to be. Fails closed: no
/// group to look at, or one that is not there, does not pass. The plan warns of what would be refused. Every run looks
/// again, and so does a process that goes on with one.
#[derive(Debug, Clone)]
pub struct SecurityGroupGate<T> {
    account: Account,
    groups: Groups,
    policy: GroupPolicy,
    types: PhantomData<fn(T) -> T>,
}

impl<T> SecurityGroupGate<T> {
    /// Looks at `groups` of `account` by `policy`.
    pub fn new(account: &Account, groups: Groups, policy: GroupPolicy) -> Self {
        Self { account: account.clone(), groups, policy, types: PhantomData }
    }

    /// What looking takes.
    pub fn looking() -> Grant {
        Grant::new(["ec2:DescribeSecurityGroupRules", "ec2:DescribeSecurityGroups"], ["*"])
    }

    async fn judged(&self, cx: &Context) -> Result<(Verdict, Vec<Finding>, Vec<String>)> {
        let calls = Calls::new(&self.account, (cx, OPERATION)).await?;
        let ids = match &self.groups {
            Groups::Ids(ids) => ids.clone(),
            Groups::Tagged { key, value } => calls.tagged(key, value).await?,
        };
        if ids.is_empty() {
            return Ok((
                Verdict::NoData,
                Vec::new(),
                vec![format!("there is no security group to look at: {:?}", self.groups)],
            ));
        }
        let rules = calls.rules(&ids).await?;
        let (verdict, findings, mut lines) = judge(&rules, &self.policy, today(cx));
        lines.push(format!("{} security groups with {} rules", ids.len(), rules.len()));
        Ok((verdict, findings, lines))
    }
}

/// What speaks against passing: the findings, or why there are none.
fn against(findings: &[Finding], lines: Vec<String>) -> Vec<String> {
    if findings.is_empty() { lines } else { findings.iter().map(ToString::to_string).collect() }
}

fn today(cx: &Context) -> Date {
    TimeZone::UTC.to_datetime(cx.clock().now()).date()
}

#[async_trait]
impl<T: Leaf> Step for SecurityGroupGate<T> {
    type Input = T;
    type Output = Admitted<T>;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "security group gate"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    /// Groups change without a release.
    fn asks_again(&self) -> bool {
        true
    }

    async fn plan(&self, cx: &Context, subject: Planned<T>) -> Result<StepPlan<Admitted<T>>> {
        let plan = StepPlan::gate(subject.known().map(|subject| Admitted::by_gate(self.kind(), subject.clone())));
        let said = match self.judged(cx).await? {
            (Verdict::Pass, ..) => Vec::new(),
            (_, findings, lines) => against(&findings, lines),
        };
        Ok(said.into_iter().fold(plan, |plan, line| plan.warning(format!("would be refused: {line}"))))
    }

    async fn apply(&self, cx: &Context, subject: T) -> Result<Applied<Admitted<T>, NoUndo>> {
        let (verdict, findings, lines) = self.judged(cx).await?;
        cx.evidence(format!("security groups: {verdict:?}"), lines.clone());
        if verdict == Verdict::Pass {
            return Ok(Applied::new(Admitted::by_gate(self.kind(), subject)));
        }
        let said = against(&findings, lines).join("; ");
        Err(Error::new(ErrorKind::GateRefused, OPERATION, format!("{verdict:?}: {said}"))
            .with("findings", findings.len())
            .advice("take the rules away, name the peers, or tolerate a finding for a time with a reason"))
    }
}
