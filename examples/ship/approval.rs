//! Asking a person before the run begins, while the terminal is still free for it.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Result,
    backend::{Approval, ApprovalRequest, Approver},
    clock::Clock as _,
    local::approval::PromptApprover,
    plan::{Action, PlanSummary},
    vocabulary::Name,
};

/// Asks at the terminal, early: [`AskFirst::ask`] about a plan, whose run then finds the answer here.
#[derive(Debug)]
pub struct AskFirst {
    prompt: PromptApprover,
    answer: Mutex<Option<Approval>>,
}

impl AskFirst {
    /// Asks by `prompt`.
    pub fn new(prompt: PromptApprover) -> Self {
        Self { prompt, answer: Mutex::default() }
    }

    /// Asks about `plan`, showing what it changes.
    pub async fn ask(&self, cx: &Context, subject: &str, plan: &PlanSummary) -> Result<()> {
        let expires = ecolaura_deploy_core::clock::SystemClock.now() + std::time::Duration::from_hours(1);
        let request = ApprovalRequest::new(cx.environment().clone(), subject, plan.digest, expires, changes(plan));
        let answer = self.prompt.request(cx, &request).await?;
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        Ok(())
    }
}

fn changes(plan: &PlanSummary) -> Vec<String> {
    let steps = plan.steps.iter();
    let changes = steps.flat_map(|step| &step.changes).filter(|change| change.action != Action::NoOp);
    changes.map(ToString::to_string).collect()
}

#[async_trait]
impl Approver for AskFirst {
    fn name(&self) -> &Name {
        self.prompt.name()
    }

    async fn request(&self, _cx: &Context, request: &ApprovalRequest) -> Result<Approval> {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let how = format!("run again at a terminal, and answer for {}", request.environment);
        Ok(answer.unwrap_or(Approval::Waiting { how }))
    }
}
