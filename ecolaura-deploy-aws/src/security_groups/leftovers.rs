//! What a crash left open.

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Result,
    backend::{Inspect, Leftover},
    vocabulary::Name,
};
use jiff::Timestamp;

use super::{calls::Calls, rule::Rule, tags};
use crate::Account;

/// Finds the rules that [`OpenIngress`](super::OpenIngress) opened for the environment, and whose time is over. Those
/// whose time is not over may be in use.
#[derive(Debug, Clone)]
pub struct IngressLeftovers {
    name: Name,
    account: Account,
}

impl IngressLeftovers {
    /// In `account`; `name` is for findings.
    pub fn new(name: Name, account: &Account) -> Self {
        Self { name, account: account.clone() }
    }

    async fn over(calls: &Calls<'_>, cx: &Context) -> Result<Vec<Rule>> {
        let mut rules = calls.rules_tagged(tags::ENVIRONMENT, cx.environment().as_str()).await?;
        rules.retain(|rule| rule.tags.contains_key(tags::KEY) && until(rule).is_none_or(|end| end <= cx.clock().now()));
        Ok(rules)
    }
}

/// Until when it is needed; `None` where the tag is gone or is no time.
fn until(rule: &Rule) -> Option<Timestamp> {
    rule.tags.get(tags::UNTIL)?.parse().ok()
}

fn leftover(rule: &Rule) -> Leftover {
    let run = rule.tags.get(tags::RUN).map_or("a run", String::as_str);
    let found = format!("{run} let {} in to {} of {} and did not close it", rule.peer, rule.ports, rule.group);
    let leftover = Leftover::new("open ingress", &rule.id, found, "take the rule away");
    until(rule).into_iter().fold(leftover, Leftover::since)
}

#[async_trait]
impl Inspect for IngressLeftovers {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        let calls = Calls::new(&self.account, (cx, "ec2.inspect")).await?;
        Ok(Self::over(&calls, cx).await?.iter().map(leftover).collect())
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        let calls = Calls::new(&self.account, (cx, "ec2.clean")).await?;
        match Self::over(&calls, cx).await?.iter().find(|rule| rule.id == leftover.object) {
            Some(rule) => calls.close(&rule.group, &rule.id).await,
            None => Ok(()),
        }
    }
}
