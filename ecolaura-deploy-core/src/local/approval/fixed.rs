//! One answer to everything.

use async_trait::async_trait;

use super::check_open;
use crate::{
    Context, Result,
    backend::{Approval, ApprovalRequest, Approver},
    vocabulary::Name,
};

/// Always gives the same answer, at once: `--yes`, and tests.
#[derive(Debug, Clone)]
pub struct FixedApprover {
    name: Name,
    by: String,
    refusal: Option<String>,
}

impl FixedApprover {
    /// Says yes in the name of `by`.
    pub fn approving(name: Name, by: impl Into<String>) -> Self {
        Self { name, by: by.into(), refusal: None }
    }

    /// Says no in the name of `by`, because of `reason`.
    pub fn rejecting(name: Name, by: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name, by: by.into(), refusal: Some(reason.into()) }
    }
}

#[async_trait]
impl Approver for FixedApprover {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn request(&self, cx: &Context, request: &ApprovalRequest) -> Result<Approval> {
        check_open(cx, request)?;
        let by = self.by.clone();
        Ok(match &self.refusal {
            Some(reason) => Approval::Rejected { by, reason: reason.clone() },
            None => Approval::Approved { by, digest: request.digest },
        })
    }
}
