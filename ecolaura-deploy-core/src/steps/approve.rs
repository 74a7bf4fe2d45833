//! Asking a person, with an answer that counts for this plan alone.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    Admitted, Context, Error, ErrorKind, Result,
    backend::{Approval, ApprovalRequest, Approver},
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Step, StepPlan},
};

/// Asks an [`Approver`] before anything behind this step happens. The question is about the digest of the running
/// plan, so a plan that changed asks again. Not asked when the plan changes nothing.
#[derive(Debug, Clone)]
pub struct Approve<T> {
    approver: Arc<dyn Approver>,
    subject: String,
    expires: Duration,
    summary: Vec<String>,
    types: PhantomData<fn(T) -> T>,
}

impl<T> Approve<T> {
    /// Asks `approver` about `subject`; the question expires after a day.
    pub fn new(approver: Arc<dyn Approver>, subject: impl Into<String>) -> Self {
        Self {
            approver,
            subject: subject.into(),
            expires: Duration::from_hours(24),
            summary: Vec::new(),
            types: PhantomData,
        }
    }

    /// Shown before the question.
    pub fn summary(mut self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.summary.extend(lines.into_iter().map(Into::into));
        self
    }

    fn request(&self, cx: &Context) -> Result<ApprovalRequest> {
        let digest = cx
            .plan_digest()
            .ok_or_else(|| Error::internal("approve.request", "an approval was asked for outside a run"))?;
        let expires = cx.clock().now() + self.expires;
        Ok(ApprovalRequest::new(cx.environment().clone(), &self.subject, digest, expires, self.summary.clone()))
    }
}

#[async_trait]
impl<T: Leaf> Step for Approve<T> {
    type Input = T;
    type Output = Admitted<T>;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "approval"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, _cx: &Context, subject: Planned<T>) -> Result<StepPlan<Admitted<T>>> {
        Ok(StepPlan::gate(subject.known().map(|subject| Admitted::by_gate(self.kind(), subject.clone()))))
    }

    async fn apply(&self, cx: &Context, subject: T) -> Result<Applied<Admitted<T>, NoUndo>> {
        let request = self.request(cx)?;
        match self.approver.request(cx, &request).await? {
            Approval::Approved { by, digest } if digest == request.digest => {
                if cx.clock().now() > request.expires {
                    return Err(Error::new(ErrorKind::GateRefused, "approve", "the approval came after it expired"));
                }
                cx.evidence(format!("approval: {}", self.subject), vec![format!("approved by {by}, plan {digest}")]);
                Ok(Applied::new(Admitted::by_gate(self.kind(), subject)))
            }
            Approval::Approved { by, digest } => {
                let message = format!("{by} approved plan {digest}, this is plan {}", request.digest);
                Err(Error::new(ErrorKind::GateRefused, "approve", message).advice("ask again for this plan"))
            }
            Approval::Rejected { by, reason } => {
                Err(Error::new(ErrorKind::GateRefused, "approve", format!("{by} said no: {reason}")))
            }
            Approval::Waiting { how } => {
                let message = format!("`{}` waits for an approval", self.subject);
                Err(Error::new(ErrorKind::Waiting, "approve", message).advice(how))
            }
        }
    }
}
