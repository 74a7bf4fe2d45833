//! What the server said on trial a moment ago, so that an apply right after its plan does not ask it all again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ecolaura_deploy_core::vocabulary::Digest;
use kube::core::DynamicObject;
use tokio::time::Instant;

use super::Outcome;

/// How long an answer is believed. What decides beside the object, an admission rule or a quota, may change meanwhile:
/// then the write itself is refused.
const BELIEVED: Duration = Duration::from_mins(1);

/// How many answers are kept; with one more, all are forgotten.
const KEPT: usize = 10_000;

/// An object as it is wanted, and the version of it that is there, if any.
type Question = (Digest, Option<String>);

/// Answers of the server, each used once.
#[derive(Debug, Default)]
pub(crate) struct Tried(Mutex<HashMap<Question, (Instant, Outcome)>>);

impl Tried {
    pub(super) fn note(&self, wanted: Digest, live: Option<&DynamicObject>, outcome: &Outcome) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= KEPT {
            answers.clear();
        }
        answers.insert(question(wanted, live), (Instant::now(), outcome.clone()));
    }

    pub(super) fn take(&self, wanted: Digest, live: Option<&DynamicObject>) -> Option<Outcome> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, outcome) = answers.remove(&question(wanted, live))?;
        (since.elapsed() < BELIEVED).then_some(outcome)
    }
}

fn question(wanted: Digest, live: Option<&DynamicObject>) -> Question {
    (wanted, live.and_then(|live| live.metadata.resource_version.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(version: &str) -> DynamicObject {
        serde_json::from_value(json!({"metadata": {"name": "web", "resourceVersion": version}})).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_once_for_the_same_object_and_not_for_long() {
        let (tried, wanted) = (Tried::default(), Digest::of("wanted"));
        tried.note(wanted, None, &Outcome::Create);
        tried.note(wanted, Some(&live("7")), &Outcome::Keep);
        assert!(tried.take(Digest::of("other"), None).is_none());
        assert!(tried.take(wanted, Some(&live("8"))).is_none(), "somebody changed it");
        assert!(matches!(tried.take(wanted, None), Some(Outcome::Create)));
        assert!(tried.take(wanted, None).is_none(), "used");
        tokio::time::advance(BELIEVED).await;
        assert!(tried.take(wanted, Some(&live("7"))).is_none(), "too old");
    }

    #[tokio::test]
    async fn their_number_is_bounded() {
        let tried = Tried::default();
        (0..=KEPT).for_each(|at| tried.note(Digest::of(at.to_string()), None, &Outcome::Create));
        assert!(tried.0.lock().unwrap().len() <= KEPT);
        assert!(tried.take(Digest::of(KEPT.to_string()), None).is_some(), "the newest is kept");
    }
}
