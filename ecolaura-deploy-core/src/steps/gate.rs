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
/// evidence is reused for the same digest while the advisory database and the policy are the same.
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
        // Tolerated findings end on a day, so evidence counts for one.
        let today = if self.policy.allow.is_empty() { String::new() } else { today(cx).to_string() };
        Ok(Fingerprint::new()
            .part("image", image.to_string())
            .part("database", self.scanner.database(cx).await?)
            .part("policy", policy)
            .part("day", today))
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
