//! Whether an environment is free: a pure decision over what was seen.

use std::time::Duration;

use tokio::time::Instant;

use super::{Gone, Seen, policy::patience};

/// What a contender does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Move<'a> {
    /// It creates the next epoch.
    Create {
        /// From whom it takes over, and why it may.
        takeover: Option<String>,
    },
    /// Another holds the environment.
    Wait(&'a Seen),
}

/// Decides on the newest epoch, its holder, and how long its newest beat has not changed.
pub(super) fn decide(seen: Option<&Seen>, gone: Gone, silent: Duration) -> Move<'_> {
    let Some(seen) = seen.filter(|seen| !seen.released) else { return Move::Create { takeover: None } };
    let why = match gone {
        Gone::Yes => "which is gone".to_owned(),
        _ if silent >= patience(seen.term) => format!("which gave no sign of life for {silent:.0?}"),
        _ => return Move::Wait(seen),
    };
    Move::Create { takeover: Some(format!("epoch {} was taken over from {}, {why}", seen.epoch, seen.who())) }
}

/// Watches the beats of a holder by our own clock.
#[derive(Debug, Default)]
pub(super) struct Watch(Option<((u64, Option<u64>), Instant)>);

impl Watch {
    /// For how long the newest beat was what it is, when the store was asked at `asked`. What passed after that does not
    /// count: the answer may be old by now.
    pub(super) fn silent_for(&mut self, seen: Option<&Seen>, asked: Instant) -> Duration {
        let Some(seen) = seen else { return Duration::ZERO };
        let beat = (seen.epoch, seen.last_beat);
        match self.0 {
            Some((known, since)) if known == beat => asked.saturating_duration_since(since),
            _ => {
                self.0 = Some((beat, Instant::now()));
                Duration::ZERO
            }
        }
    }
}
