//! Which release a pipeline brings to its environment, in the order of releases.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result, vocabulary::ReleaseSequence};

/// What a run does to the order of releases. An older release never lands over a newer one unless it is declared to be
/// a way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "landing", content = "sequence", rename_all = "snake_case")]
pub enum Landing {
    /// It says nothing of releases.
    #[default]
    Unnumbered,
    /// It brings this release, which must not be older than what is live.
    Forward(ReleaseSequence),
    /// It goes back to this release.
    Back(ReleaseSequence),
}

impl Landing {
    /// The release, if it says which.
    pub fn sequence(self) -> Option<ReleaseSequence> {
        match self {
            Self::Unnumbered => None,
            Self::Forward(sequence) | Self::Back(sequence) => Some(sequence),
        }
    }

    /// Refuses to bring a release over a newer one. Fails with [`ErrorKind::Conflict`] naming both.
    pub fn check(self, live: Option<ReleaseSequence>) -> Result<()> {
        match (self, live) {
            (Self::Forward(own), Some(live)) if own < live => {
                let message = format!("release {own} is older than {live}, which is live");
                Err(Error::new(ErrorKind::Conflict, "release.order", message)
                    .advice("make a new release; or declare a way back with `Pipeline::back_to`"))
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Landing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unnumbered => f.write_str("names no release"),
            Self::Forward(sequence) => write!(f, "brings release {sequence}"),
            Self::Back(sequence) => write!(f, "goes back to release {sequence}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_undeclared_older_release_is_refused() {
        let live = Some(ReleaseSequence(7));
        assert!(Landing::Unnumbered.check(live).is_ok());
        assert!(Landing::Forward(ReleaseSequence(7)).check(live).is_ok());
        assert!(Landing::Forward(ReleaseSequence(6)).check(None).is_ok());
        assert!(Landing::Back(ReleaseSequence(6)).check(live).is_ok());
        let error = Landing::Forward(ReleaseSequence(6)).check(live).unwrap_err();
        assert!(error.report().starts_with("release r6 is older than r7"), "{}", error.report());
    }
}
