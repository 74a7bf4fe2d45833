//! Pure decisions: which pods to start and end next, and what became of a roll-out.

mod decide;
mod verdict;

pub(super) use self::{
    decide::{Action, PodView, decide, decide_candidate},
    verdict::{PodReport, RolloutView, Trouble, judge},
};
