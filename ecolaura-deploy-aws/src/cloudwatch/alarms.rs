//! Alarms: they stop a run before it begins, and end a roll-out.

use std::{fmt, marker::PhantomData, sync::Arc};

use async_trait::async_trait;
use aws_sdk_cloudwatch::{
    Client,
    types::{AlarmType, StateValue},
};
use ecolaura_deploy_core::{
    Admitted, Context, Error, ErrorKind, Result, Verdict,
    backend::AppliedWorkload,
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Step, StepPlan},
    steps::Analyst,
};

use crate::{Account, access::Grant};

const OPERATION: &str = "cloudwatch.alarms";

/// Alarms of an account, by their names. For [`AlarmGate`], and as the [`Analyst`] of a roll-out: one that rings ends it.
///
/// Fails closed: an alarm that is not there, or has no data, does not pass.
pub struct Alarms {
    account: Account,
    client: Client,
    names: Vec<String>,
    silence: bool,
}

impl Alarms {
    /// The alarms `names` of `account`, composite ones too.
    pub fn new<N: Into<String>>(account: &Account, names: impl IntoIterator<Item = N>) -> Self {
        let client = Client::new(account.sdk_config());
        Self { account: account.clone(), client, names: names.into_iter().map(Into::into).collect(), silence: false }
    }

    /// Lets alarms pass that have no data: those of services that nobody uses at night.
    pub fn tolerating_silence(self) -> Self {
        Self { silence: true, ..self }
    }

    /// What looking takes. To who may look at some alarms only, `CloudWatch` does not show composite ones.
    pub fn looking() -> Grant {
        Grant::new(["cloudwatch:DescribeAlarms"], ["*"])
    }

    /// The worst of them, and a line for each.
    pub async fn verdict(&self, cx: &Context) -> Result<(Verdict, Vec<String>)> {
        let states = self.states(cx).await?;
        Ok((worst(&states), states.into_iter().map(|(_, line)| line).collect()))
    }

    /// How each of them is, and in a line.
    async fn states(&self, cx: &Context) -> Result<Vec<(Verdict, String)>> {
        cx.check(OPERATION)?;
        let mut states = Vec::with_capacity(self.names.len());
        for name in &self.names {
            states.push(self.state(cx, name).await?);
        }
        if states.is_empty() {
            states.push((Verdict::NoData, "no alarm is named".to_owned()));
        }
        Ok(states)
    }

    async fn state(&self, cx: &Context, name: &str) -> Result<(Verdict, String)> {
        let call = self.account.reads((cx, OPERATION), "cloudwatch:DescribeAlarms", "*");
        let request = self.client.describe_alarms().alarm_names(name);
        let request = request.alarm_types(AlarmType::MetricAlarm).alarm_types(AlarmType::CompositeAlarm);
        let answer = call.send(request.send()).await?;
        let metric = answer.metric_alarms().first().map(|alarm| (alarm.state_value(), alarm.state_reason()));
        let composite = answer.composite_alarms().first().map(|alarm| (alarm.state_value(), alarm.state_reason()));
        let Some((state, reason)) = metric.or(composite) else {
            return Ok((Verdict::NoData, format!("{name}: there is no such alarm in {}", self.account.region())));
        };
        let verdict = match state {
            Some(StateValue::Ok) => Verdict::Pass,
            Some(StateValue::Alarm) => Verdict::Fail,
            Some(StateValue::InsufficientData) if self.silence => Verdict::Pass,
            Some(StateValue::InsufficientData) => Verdict::NoData,
            _ => Verdict::Inconclusive,
        };
        let state = state.map_or("unknown", StateValue::as_str);
        Ok((verdict, format!("{name}: {state}: {}", reason.unwrap_or("no reason given"))))
    }
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive => 1,
        Verdict::NoData => 2,
        Verdict::Error => 3,
        Verdict::Fail => 4,
    }
}

/// The worst of `states`.
fn worst(states: &[(Verdict, String)]) -> Verdict {
    let verdicts = states.iter().map(|(verdict, _)| *verdict);
    verdicts.max_by_key(|verdict| rank(*verdict)).unwrap_or(Verdict::NoData)
}

/// What speaks against passing.
fn against(states: Vec<(Verdict, String)>) -> Vec<String> {
    states.into_iter().filter(|(verdict, _)| *verdict != Verdict::Pass).map(|(_, line)| line).collect()
}

impl fmt::Debug for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarms").field("names", &self.names).finish_non_exhaustive()
    }
}

#[async_trait]
impl Analyst for Alarms {
    async fn judge(&self, cx: &Context, _candidate: &AppliedWorkload, _percent: u8) -> Result<(Verdict, Vec<String>)> {
        self.verdict(cx).await
    }
}

/// Lets a subject pass while no alarm rings. The plan warns of those that would not let it pass now. A process that goes
/// on with a run looks again.
#[derive(Debug, Clone)]
pub struct AlarmGate<T> {
    alarms: Arc<Alarms>,
    types: PhantomData<fn(T) -> T>,
}

impl<T> AlarmGate<T> {
    /// Listens to `alarms`.
    pub fn new(alarms: Arc<Alarms>) -> Self {
        Self { alarms, types: PhantomData }
    }
}

#[async_trait]
impl<T: Leaf> Step for AlarmGate<T> {
    type Input = T;
    type Output = Admitted<T>;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "alarm gate"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    /// Time has passed.
    fn asks_again(&self) -> bool {
        true
    }

    async fn plan(&self, cx: &Context, subject: Planned<T>) -> Result<StepPlan<Admitted<T>>> {
        let plan = StepPlan::gate(subject.known().map(|subject| Admitted::by_gate(self.kind(), subject.clone())));
        let said = against(self.alarms.states(cx).await?);
        Ok(said.into_iter().fold(plan, |plan, line| plan.warning(format!("would be refused now: {line}"))))
    }

    async fn apply(&self, cx: &Context, subject: T) -> Result<Applied<Admitted<T>, NoUndo>> {
        let states = self.alarms.states(cx).await?;
        let verdict = worst(&states);
        cx.evidence(format!("alarms: {verdict:?}"), states.iter().map(|(_, line)| line.clone()).collect());
        if verdict == Verdict::Pass {
            return Ok(Applied::new(Admitted::by_gate(self.kind(), subject)));
        }
        let said = against(states).join("; ");
        Err(Error::new(ErrorKind::GateRefused, OPERATION, format!("{verdict:?}: {said}"))
            .advice("see to what rings, then run again"))
    }
}
