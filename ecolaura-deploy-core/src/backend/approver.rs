//! Asking people.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    vocabulary::{Digest, EnvironmentName, Name},
};

/// What is to be approved: one plan for one environment, until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ApprovalRequest {
    /// The environment.
    pub environment: EnvironmentName,
    /// What the approval is for, in a line: `production after UAT on staging`.
    pub subject: String,
    /// The digest of the plan or release. An answer counts for nothing else.
    pub digest: Digest,
    /// When the question expires.
    pub expires: Timestamp,
    /// Lines that the person reads before answering.
    pub summary: Vec<String>,
}

impl ApprovalRequest {
    /// A question about `digest` in `environment`.
    pub fn new(
        environment: EnvironmentName,
        subject: impl Into<String>,
        digest: Digest,
        expires: Timestamp,
        summary: Vec<String>,
    ) -> Self {
        Self { environment, subject: subject.into(), digest, expires, summary }
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Approval {
    /// Yes.
    Approved {
        /// Who said so.
        by: String,
        /// The digest that was approved; the gate compares it.
        digest: Digest,
    },
    /// No.
    Rejected {
        /// Who said so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Nobody can be asked from here; the run waits and may be continued once somebody has answered.
    Waiting {
        /// How to answer.
        how: String,
    },
}

/// Gets answers from people.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Approver: fmt::Debug + Send + Sync + 'static {
    /// The backend's name.
    fn name(&self) -> &Name;

    /// Asks, and waits for the answer as long as the context allows. A cancel withdraws the question. A rejection is
    /// an answer, not an error. Fails with `Timeout`, `Cancelled`, `Unavailable`.
    async fn request(&self, cx: &Context, request: &ApprovalRequest) -> Result<Approval>;
}

const _: fn(&dyn Approver) = |_| {};
