//! Letting somebody in for a while.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Probed, Step, StepPlan, UndoData, Undoer},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    calls::{Calls, group_arn, rules_arn},
    rule::{Peer, Ports, Rule},
    tags,
};
use crate::{
    Account, Scope,
    access::Grant,
    key,
    wait::{Pace, Wait},
};

const OPERATION: &str = "ec2.ingress";

/// What the descriptions of our rules begin with.
const OURS: &str = "ecolaura-deploy: run ";

/// EC2 may show a rule to those who list them some seconds after it is there.
const SHOWN: Pace =
    Pace { patience: Duration::from_secs(15), pause: Duration::from_secs(1), longest: Duration::from_secs(4) };

/// Who is let in, to what, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    group: String,
    peer: Peer,
    ports: Ports,
    longest: Duration,
}

impl Ingress {
    /// `peer` to `ports` behind the security group `group`, for no longer than `longest`.
    pub fn new(group: impl Into<String>, peer: Peer, ports: Ports, longest: Duration) -> Self {
        Self { group: group.into(), peer: peer.kept(), ports: ports.kept(), longest }
    }

    /// Whose rule among `rules`, those of the group, lets the same in; `None` if that is not to be seen yet. Ours has `key`.
    fn holder<'a>(&self, rules: &'a [Rule], key: &str) -> Option<Holder<'a>> {
        let rule = rules.iter().find(|rule| rule.peer == self.peer && rule.ports == self.ports)?;
        match rule.tags.get(tags::KEY) {
            Some(of) if of == key => Some(Holder::Ours(rule)),
            Some(_) => Some(Holder::Run(rule)),
            // One of a run, whose tags come later.
            None if rule.description.starts_with(OURS) => None,
            None => Some(Holder::Somebody),
        }
    }
}

/// Whose rule lets somebody in already.
#[derive(Debug)]
enum Holder<'a> {
    /// That of this step: an answer was lost.
    Ours(&'a Rule),
    /// That of another step or run, which will close it.
    Run(&'a Rule),
    /// No run's.
    Somebody,
}

impl fmt::Display for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} in {}", self.peer, self.ports, self.group)
    }
}

/// What was opened: the rule, or that somebody else's lets the same in, which stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Opened {
    /// The security group.
    pub group: String,
    /// The rule, if it is ours.
    pub rule: Option<String>,
    /// Until when it is needed at the longest.
    pub until: Timestamp,
}

impl Leaf for Opened {}

/// Lets somebody in for the steps behind it. The rule says in words and in tags which run has it and until when. It is
/// taken away by [`CloseIngress`], by undoing, and after a crash by core's `Doctor` once its time is over.
///
/// Where a rule that no run made lets the same in, nothing is opened and nothing will be closed. Where one of another run
/// does, which will close it, the step fails with `Conflict`.
#[derive(Debug, Clone)]
pub struct OpenIngress {
    account: Account,
    ingress: Ingress,
}

/// A rule that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngressUndo {
    group: String,
    key: String,
    /// The rule, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

impl UndoData for IngressUndo {
    const KIND: &'static str = "security group ingress";
}

impl OpenIngress {
    /// Opens `ingress` in `account`.
    pub fn new(account: &Account, ingress: Ingress) -> Self {
        Self { account: account.clone(), ingress }
    }

    /// What opening and closing takes.
    pub fn grants(&self, scope: &Scope) -> Vec<Grant> {
        let actions = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"];
        vec![
            Grant::new(actions, [group_arn(scope, &self.ingress.group)]),
            // With tags for the rule, IAM asks for the rule too.
            Grant::new(["ec2:AuthorizeSecurityGroupIngress"], [rules_arn(scope)]),
            Grant::new(["ec2:CreateTags"], [rules_arn(scope)]).when(
                "StringEquals",
                "ec2:CreateAction",
                "AuthorizeSecurityGroupIngress",
            ),
            Grant::new(["ec2:DescribeSecurityGroupRules"], ["*"]),
        ]
    }

    fn key(&self, cx: &Context) -> String {
        key::of_effect(cx, &self.ingress.to_string()).to_hex()
    }

    fn until(&self, cx: &Context) -> Result<Timestamp> {
        cx.clock().now().checked_add(self.ingress.longest).map_err(|error| {
            Error::invalid(OPERATION, format!("{} s from now is no time", self.ingress.longest.as_secs()))
                .with_source(error)
        })
    }

    async fn open(&self, cx: &Context, key: &str) -> Result<Opened> {
        let Ingress { group, peer, ports, .. } = &self.ingress;
        let calls = Calls::new(&self.account, (cx, OPERATION)).await?;
        // An attempt whose answer was lost may have opened it.
        if let Some(rule) = calls.rules_tagged(tags::KEY, key).await?.first() {
            return Ok(opened(rule));
        }
        let until = self.until(cx)?;
        let description = format!("{OURS}{}, until {until:.0}", cx.run_id());
        let tags = vec![
            (tags::KEY, key.to_owned()),
            (tags::ENVIRONMENT, cx.environment().to_string()),
            (tags::RUN, cx.run_id().to_owned()),
            (tags::UNTIL, until.to_string()),
        ];
        match calls.open((group, peer, ports), &description, tags).await? {
            Some(rule) => Ok(Opened { group: group.clone(), rule: Some(rule.id), until }),
            None => self.held(cx, &calls, (key, until)).await,
        }
    }

    /// What is open already. The SDK asks again where an answer was lost: then the rule is ours.
    async fn held(&self, cx: &Context, calls: &Calls<'_>, (key, until): (&str, Timestamp)) -> Result<Opened> {
        let group = &self.ingress.group;
        let advice = "run again; if it was this step that opened it, undoing closes it";
        let mut wait = Wait::new((cx, OPERATION), SHOWN, (Effect::Unknown, advice)).reached(true);
        loop {
            let rules =
                wait.look(|| calls.rules_of(group)).await.map_err(|error| error.with_effect(Effect::Unknown))?;
            match self.ingress.holder(&rules, key) {
                Some(Holder::Ours(rule)) => return Ok(opened(rule)),
                Some(Holder::Run(rule)) => return Err(self.in_use(rule)),
                Some(Holder::Somebody) => {
                    cx.warn(format!("{} is open already, by a rule that no run made: it stays", self.ingress));
                    return Ok(Opened { group: group.clone(), rule: None, until });
                }
                None => wait.pause(&self.ingress.to_string(), "open by a rule that is not shown").await?,
            }
        }
    }

    fn in_use(&self, rule: &Rule) -> Error {
        let tag = |key: &str| rule.tags.get(key).map_or("unknown", String::as_str);
        let message = format!("{} is open already, for run {}, which will close it", self.ingress, tag(tags::RUN));
        Error::new(ErrorKind::Conflict, OPERATION, message)
            .with("rule", &rule.id)
            .with("until", tag(tags::UNTIL))
            .advice("run again when that run is over; what a crash left, the doctor takes away when its time is over")
    }
}

fn opened(rule: &Rule) -> Opened {
    let until = rule.tags.get(tags::UNTIL).and_then(|until| until.parse().ok()).unwrap_or(Timestamp::MAX);
    Opened { group: rule.group.clone(), rule: Some(rule.id.clone()), until }
}

/// The account as a backend's name.
fn target(account: &Account) -> String {
    format!("EC2 in {}", account.region())
}

#[async_trait]
impl Step for OpenIngress {
    type Input = ();
    type Output = Opened;
    type Undo = IngressUndo;

    fn kind(&self) -> &'static str {
        "open ingress"
    }

    /// Not `Keyed`: once it is closed, there is nothing to open again.
    fn effect_class(&self) -> EffectClass {
        EffectClass::Probed
    }

    async fn plan(&self, _cx: &Context, _input: Planned<()>) -> Result<StepPlan<Opened>> {
        let reason = format!("for {} min at the longest", self.ingress.longest.as_secs().div_ceil(60));
        Ok(StepPlan::changing(vec![Change::new(World::Network, self.ingress.to_string(), Action::Create, reason)]))
    }

    async fn prepare(&self, cx: &Context, _input: &()) -> Result<Option<IngressUndo>> {
        Ok(Some(IngressUndo { group: self.ingress.group.clone(), key: self.key(cx), rule: None }))
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<Opened, IngressUndo>> {
        let key = self.key(cx);
        let opened = self.open(cx, &key).await?;
        let Some(rule) = opened.rule.clone() else { return Ok(Applied::new(opened)) };
        let undo = IngressUndo { group: opened.group.clone(), key, rule: Some(rule) };
        Ok(Applied::new(opened).undo(undo))
    }

    async fn probe(&self, cx: &Context, _input: ()) -> Result<Probed<Opened>> {
        let calls = Calls::new(&self.account, (cx, OPERATION)).await?;
        let found = calls.rules_tagged(tags::KEY, &self.key(cx)).await?;
        Ok(found.first().map_or(Probed::NotDone, |rule| Probed::Done(opened(rule))))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<IngressUndo>>> {
        Some(Arc::new(Shut(self.account.clone())))
    }
}

#[derive(Debug)]
struct Shut(Account);

#[async_trait]
impl Undoer<IngressUndo> for Shut {
    fn target(&self) -> String {
        target(&self.0)
    }

    fn describe(&self, undo: &IngressUndo) -> String {
        format!("take the ingress away that the run opened in {}", undo.group)
    }

    async fn undo(&self, cx: &Context, undo: IngressUndo) -> Result<()> {
        let calls = Calls::new(&self.0, (cx, "ec2.shut")).await?;
        if let Some(rule) = &undo.rule {
            return calls.close(&undo.group, rule).await;
        }
        // Nobody knows whether it was opened.
        let mut wait = Wait::new((cx, "ec2.shut"), SHOWN, (Effect::None, "undo it again"));
        loop {
            let rules = wait.look(|| calls.rules_tagged(tags::KEY, &undo.key)).await?;
            for rule in &rules {
                calls.close(&rule.group, &rule.id).await?;
            }
            if !rules.is_empty() || wait.is_over() {
                return Ok(());
            }
            wait.pause("the ingress of the run", "not shown, if it is there").await?;
        }
    }
}

/// Takes away what [`OpenIngress`] opened, behind the steps that needed it.
#[derive(Debug, Clone)]
pub struct CloseIngress(Account);

impl CloseIngress {
    /// In `account`.
    pub fn new(account: &Account) -> Self {
        Self(account.clone())
    }
}

#[async_trait]
impl Step for CloseIngress {
    type Input = Opened;
    type Output = ();
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "close ingress"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, _cx: &Context, opened: Planned<Opened>) -> Result<StepPlan<()>> {
        let reason = opened.reason().unwrap_or_else(|| "it was needed for a while".to_owned());
        Ok(StepPlan::changing(vec![Change::new(World::Network, "the temporary ingress", Action::Delete, reason)]))
    }

    async fn apply(&self, cx: &Context, opened: Opened) -> Result<Applied<(), NoUndo>> {
        let Some(rule) = &opened.rule else { return Ok(Applied::new(())) };
        let calls = Calls::new(&self.0, (cx, "ec2.close")).await?;
        calls.close(&opened.group, rule).await?;
        if cx.clock().now() > opened.until {
            cx.warn(format!("{rule} of {} was to be closed by {}", opened.group, opened.until));
        }
        Ok(Applied::new(()))
    }
}
