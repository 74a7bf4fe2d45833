//! What can go wrong with a call to a backend.

use std::{mem::discriminant, time::Duration};

use crate::{Effect, Error, ErrorKind, Retry};

/// What goes wrong with one call, as the caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallFault {
    /// Never connected: nothing happened, and trying again may help.
    Refused,
    /// It timed out before anything was sent: nothing happened.
    TimeoutBefore,
    /// The effect happened and the answer never came: a timeout with [`Effect::Unknown`].
    LostAnswer,
    /// The connection broke while the request was sent: nothing happened, and from here that cannot be told.
    Reset,
    /// The other side asks to slow down, and says for how long.
    SlowDown,
    /// The other side fails once.
    ServerError,
    /// So many calls of this name in a row find nobody there, this one included.
    Outage(u32),
    /// The credentials are missing or have expired.
    Unauthenticated,
    /// Somebody else holds or changed the thing.
    Conflict,
    /// The other side refuses the request for good.
    Rejected,
    /// The effect happened and the answer cannot be read.
    Malformed,
    /// It never answers. A cancel or the context's deadline ends it.
    Hang,
    /// It is done so much later. A cancel ends the pause.
    Slow(Duration),
}

/// More than any retry budget.
const LONG: u32 = 1000;

/// What a rate limit asks for.
const PAUSE: Duration = Duration::from_secs(2);

impl CallFault {
    /// One of each class; [`CallFault::Slow`] is none, since nothing fails.
    pub const CLASSES: [Self; 12] = [
        Self::Refused,
        Self::TimeoutBefore,
        Self::LostAnswer,
        Self::Reset,
        Self::SlowDown,
        Self::ServerError,
        Self::Outage(LONG),
        Self::Unauthenticated,
        Self::Conflict,
        Self::Rejected,
        Self::Malformed,
        Self::Hang,
    ];

    /// The name of its class: `lost-answer`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimeoutBefore => "timeout-before",
            Self::LostAnswer => "lost-answer",
            Self::Reset => "reset",
            Self::SlowDown => "slow-down",
            Self::ServerError => "server-error",
            Self::Outage(_) => "outage",
            Self::Unauthenticated => "unauthenticated",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Malformed => "malformed",
            Self::Hang => "hang",
            Self::Slow(_) => "slow",
        }
    }

    /// Whether both are of one class.
    pub fn is_like(self, other: Self) -> bool {
        discriminant(&self) == discriminant(&other)
    }

    /// Whether the effect happens although the call fails.
    pub fn happens(self) -> bool {
        matches!(self, Self::LostAnswer | Self::Malformed | Self::Slow(_))
    }

    /// How many calls in a row it lasts.
    pub(super) fn calls(self) -> u32 {
        if let Self::Outage(calls) = self { calls } else { 1 }
    }

    /// What the caller of `operation` gets, where it gets anything. Of a read it is known that it had no effect.
    pub(super) fn error(self, operation: &'static str, writes: bool) -> Error {
        let (kind, message) = self.told();
        let unknown = writes && matches!(self, Self::LostAnswer | Self::Reset | Self::Malformed | Self::Hang);
        let error = Error::new(kind, operation, format!("{message}, as injected"));
        let error = match self {
            Self::TimeoutBefore | Self::LostAnswer => error.with_retry(Retry::After(None)),
            Self::SlowDown => error.with_retry(Retry::After(Some(PAUSE))),
            _ => error,
        };
        error.with_effect(if unknown { Effect::Unknown } else { Effect::None })
    }

    fn told(self) -> (ErrorKind, &'static str) {
        match self {
            Self::Refused => (ErrorKind::Unavailable, "connection refused"),
            Self::TimeoutBefore => (ErrorKind::Timeout, "no connection in time"),
            Self::LostAnswer | Self::Hang | Self::Slow(_) => (ErrorKind::Timeout, "no answer in time"),
            Self::Reset => (ErrorKind::Unavailable, "the connection was reset"),
            Self::SlowDown => (ErrorKind::RateLimited, "too many requests"),
            Self::ServerError => (ErrorKind::Unavailable, "internal server error"),
            Self::Outage(_) => (ErrorKind::Unavailable, "service unavailable"),
            Self::Unauthenticated => (ErrorKind::Unauthenticated, "the credentials have expired"),
            Self::Conflict => (ErrorKind::Conflict, "somebody else changes it"),
            Self::Rejected => (ErrorKind::InvalidInput, "the request is refused"),
            Self::Malformed => (ErrorKind::Corrupt, "the answer cannot be read"),
        }
    }
}
