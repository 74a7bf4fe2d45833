//! What gates answer, and the proof that one was passed.

use serde::{Deserialize, Serialize};

/// What a gate, an analysis or a check answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Good.
    Pass,
    /// Bad.
    Fail,
    /// There was nothing to judge by.
    NoData,
    /// The judge itself failed.
    Error,
    /// Neither good nor bad; a person must look.
    Inconclusive,
}

/// A subject that a gate let pass. Steps that change production take this, so that a gate cannot be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted<T> {
    subject: T,
    gate: String,
}

impl<T> Admitted<T> {
    /// `subject`, let pass by `gate`. For gates only: whoever calls this answers for it.
    pub fn by_gate(gate: impl Into<String>, subject: T) -> Self {
        Self { subject, gate: gate.into() }
    }

    /// What was let pass.
    pub fn subject(&self) -> &T {
        &self.subject
    }

    /// What was let pass, by value.
    pub fn into_subject(self) -> T {
        self.subject
    }

    /// The gate.
    pub fn gate(&self) -> &str {
        &self.gate
    }
}
