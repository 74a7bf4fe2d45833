//! Cases that play themselves.

use std::{
    fmt::{self, Display},
    sync::Arc,
};

use crate::testing::simulation::Verdict;

/// A case without a simulation: a backend beside a server of its own, or code that is given hostile input.
///
/// It looks after the invariants that it can see, and judges by [`Verdict::of`] as a simulation does.
#[derive(Clone)]
pub struct Scene {
    /// `E`, as in the names of its cases.
    pub family: &'static str,
    /// `E/dies/at-the-last-byte`
    pub name: String,
    play: Arc<dyn Fn() -> Verdict + Send + Sync>,
}

impl Scene {
    /// The case `name` of `family`, which `play` plays: as often as wanted, from the beginning each time.
    pub fn new(family: &'static str, name: impl Display, play: impl Fn() -> Verdict + Send + Sync + 'static) -> Self {
        Self { family, name: format!("{family}/{name}"), play: Arc::new(play) }
    }

    /// Plays it, and judges.
    pub fn judge(&self) -> Verdict {
        (self.play)()
    }
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("name", &self.name).finish_non_exhaustive()
    }
}
