//! Gates: scans and windows.

use std::{marker::PhantomData, sync::Arc};

use async_trait::async_trait;
use jiff::tz::TimeZone;

use crate::{
    Admitted, Context, Error, ErrorKind, Result, Verdict,
    analysis::scan::{SeverityPolicy, judge},
    backend::{ImageScanner, ScanReport},
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Step, StepPlan},
    vocabulary::{Fingerprint, PinnedImage},
    window::{MaintenanceWindow, WindowState},
};

/// Lets an image pass if its scan satisfies a policy. Fails closed: an image that was not scanned does not pass. The
/// evidence is reused for the same digest while the advisory database, the policy and what it still tolerates are the same.
#[derive(Debug, Clone)]
pub struct ScanGate {
    scanner: Arc<dyn ImageScanner>,
    policy: SeverityPolicy,
}

impl ScanGate {
    /// Judges what `scanner` finds by `policy`.
    pub fn new(scanner: Arc<dyn ImageScanner>, policy: SeverityPolicy) -> Self {
        Self { scanner, policy }
    }

    async fn fingerprint(&self, cx: &Context, image: &PinnedImage) -> Result<Fingerprint> {
        let policy = crate::context::to_json("scan.policy", &self.policy)?.to_string();
        // What is tolerated ends on a day, and with it the evidence.
        let allowed: Vec<_> = self.policy.allowed(today(cx)).collect();
        let allowed = crate::context::to_json("scan.policy", &allowed)?.to_string();
        Ok(Fingerprint::new()
            .part("image", image.to_string())
            .part("database", self.scanner.database(cx).await?)
            .part("policy", policy)
            .part("allowed", allowed))
    }

    fn refuse(image: &PinnedImage, verdict: Verdict, report: &ScanReport, lines: &[String]) -> Error {
        let first = lines.first().map_or("no reason given", String::as_str);
        Error::new(ErrorKind::GateRefused, "scan.gate", format!("{image}: {verdict:?}: {first}"))
            .with("database", report.database.clone())
            .with("findings in all", lines.len())
            .advice("update what is named, or tolerate it for a time with a reason")
    }
}

fn today(cx: &Context) -> jiff::civil::Date {
    TimeZone::UTC.to_datetime(cx.clock().now()).date()
}

#[async_trait]
impl Step for ScanGate {
    type Input = PinnedImage;
    type Output = Admitted<PinnedImage>;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "scan gate"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, cx: &Context, image: Planned<PinnedImage>) -> Result<StepPlan<Admitted<PinnedImage>>> {
        let Planned::Known(image) = image else { return Ok(StepPlan::gate(None)) };
        let fingerprint = self.fingerprint(cx, &image).await?;
        let passed: Option<Admitted<PinnedImage>> = cx.recall(self.kind(), &fingerprint).await;
        let plan = match passed {
            Some(admitted) => StepPlan::unchanged(Vec::new(), admitted),
            None => {
                let mut plan = StepPlan::gate(Some(Admitted::by_gate(self.kind(), image)));
                plan.need = crate::step::Need::Run;
                plan
            }
        };
        Ok(plan.fingerprint(fingerprint))
    }

    async fn apply(&self, cx: &Context, image: PinnedImage) -> Result<Applied<Admitted<PinnedImage>, NoUndo>> {
        let report = self.scanner.scan(cx, &image).await?;
        let (verdict, lines) = judge(&report, &self.policy, today(cx));
        cx.evidence(format!("scan of {}: {verdict:?}", image.repository), lines.clone());
        if verdict != Verdict::Pass {
            return Err(Self::refuse(&image, verdict, &report, &lines));
        }
        Ok(Applied::new(Admitted::by_gate(self.kind(), image)))
    }
}

/// Lets a subject pass while a maintenance window is open; otherwise the run waits and can go on later.
#[derive(Debug, Clone)]
pub struct WindowGate<T> {
    window: MaintenanceWindow,
    types: PhantomData<fn(T) -> T>,
}

impl<T> WindowGate<T> {
    /// Looks at `window`.
    pub fn new(window: MaintenanceWindow) -> Self {
        Self { window, types: PhantomData }
    }
}

#[async_trait]
impl<T: Leaf> Step for WindowGate<T> {
    type Input = T;
    type Output = Admitted<T>;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "maintenance window"
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
        Ok(match self.window.state(cx.clock().now()) {
            WindowState::Closed { reason, .. } => plan.warning(format!("the window is closed now: {reason}")),
            _ => plan,
        })
    }

    async fn apply(&self, cx: &Context, subject: T) -> Result<Applied<Admitted<T>, NoUndo>> {
        match self.window.state(cx.clock().now()) {
            WindowState::Open { until } => {
                let until = until.map_or_else(|| "no end in sight".to_owned(), |until| format!("until {until}"));
                cx.evidence("maintenance window", vec![format!("open, {until}")]);
                Ok(Applied::new(Admitted::by_gate(self.kind(), subject)))
            }
            WindowState::Closed { opens, reason } => {
                let opens = opens.map_or_else(|| "no opening is known".to_owned(), |opens| format!("it opens {opens}"));
                Err(Error::new(ErrorKind::Waiting, "window.gate", format!("no change may be made now: {reason}"))
                    .advice(format!("{opens}; run again then")))
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::{
        analysis::scan::AllowEntry,
        backend::{Finding, ScanOutcome, Severity},
        clock::FixedClock,
        pipeline::{Pipeline, constant},
        run::Runner,
        store::ObjectRunStore,
        testing::fake::small::FakeScanner,
        vocabulary::Digest,
    };

    /// Whether the gate was passed at once, and whether it was passed at all.
    async fn pass(runner: &Runner, policy: &SeverityPolicy, day: jiff::civil::Date) -> (bool, bool) {
        let image = PinnedImage::new("a/b".parse().unwrap(), Digest::of("x"));
        let found = Finding::new("CVE-2026-1", Severity::High, "libfoo 1.0", "bad");
        let outcome = ScanOutcome::Findings { findings: vec![found] };
        let gate = ScanGate::new(Arc::new(FakeScanner::new().with(image.clone(), outcome, 1)), policy.clone());
        let clock = FixedClock::new(TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap());
        let (cx, runner) = (Context::new("dev".parse().unwrap()), runner.clone().clock(Arc::new(clock)));
        let mut pipeline = Pipeline::new("ship".parse().unwrap(), "dev".parse().unwrap());
        pipeline.add("scan", gate, constant(image));
        let plan = runner.plan(&cx, pipeline).await.unwrap();
        let skipped = plan.summary().steps[0].skipped;
        (skipped, runner.run(&cx, plan).await.unwrap().succeeded())
    }

    #[tokio::test]
    async fn evidence_counts_until_what_it_tolerates_has_run_out() {
        let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
        let allow = |id: &str, until| AllowEntry::new(id, until, "not reachable");
        let policy = SeverityPolicy::new(Severity::High)
            .allow(allow("CVE-2026-1", date(2027, 1, 1)))
            .allow(allow("CVE-2026-2", date(2026, 11, 30)));
        assert_eq!(pass(&runner, &policy, date(2026, 11, 27)).await, (false, true));
        assert_eq!(pass(&runner, &policy, date(2026, 11, 28)).await, (true, true), "another day");
        assert_eq!(pass(&runner, &policy, date(2026, 12, 1)).await, (false, true), "one allowance less");
        assert_eq!(pass(&runner, &policy, date(2027, 1, 1)).await, (true, true), "the last day");
        assert_eq!(pass(&runner, &policy, date(2027, 1, 2)).await, (false, false), "it has run out");
    }
}
