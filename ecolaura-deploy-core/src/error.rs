//! The one error type: what went wrong, where, what is known of the effect, and whether trying again can help.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The source of an [`Error`], erased.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What kind of failure it was. Callers match on this; people read the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's input is wrong. Never retried.
    InvalidInput,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already and differs.
    AlreadyExists,
    /// Somebody else changed the thing meanwhile, or holds it.
    Conflict,
    /// The credentials are good, the right is missing.
    PermissionDenied,
    /// No credentials, or expired ones.
    Unauthenticated,
    /// The other side asked to slow down. Retried after the delay it named.
    RateLimited,
    /// The other side could not be reached or is not serving. Retried.
    Unavailable,
    /// A deadline passed. A mutating call then has [`Effect::Unknown`].
    Timeout,
    /// The caller cancelled.
    Cancelled,
    /// The backend does not do this; see its capabilities.
    Unsupported,
    /// What was stored does not match its digest, checksum or schema.
    Corrupt,
    /// A roll-out cannot succeed; the message names the cause.
    RolloutFailed,
    /// A gate answered no.
    GateRefused,
    /// A database is between two migrations.
    MigrationDirty,
    /// A declared limit was reached.
    LimitExceeded,
    /// A command ended with a status other than 0.
    CommandFailed,
    /// What was planned is not what would be done now.
    StalePlan,
    /// A person or a window must come first; nothing is wrong, and the run can go on later.
    Waiting,
    /// A newer deployer works on the environment; whoever gets this has lost its lock and must stop.
    Fenced,
    /// A bug, here or in a step: a panic, a broken promise.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidInput => "invalid input",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Conflict => "conflict",
            Self::PermissionDenied => "permission denied",
            Self::Unauthenticated => "not authenticated",
            Self::RateLimited => "rate limited",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timed out",
            Self::Cancelled => "cancelled",
            Self::Unsupported => "not supported",
            Self::Corrupt => "corrupt",
            Self::RolloutFailed => "roll-out failed",
            Self::GateRefused => "refused by a gate",
            Self::MigrationDirty => "database is dirty",
            Self::LimitExceeded => "limit exceeded",
            Self::CommandFailed => "command failed",
            Self::StalePlan => "plan is stale",
            Self::Waiting => "waiting",
            Self::Fenced => "fenced off",
            Self::Internal => "internal error",
        })
    }
}

/// What is known of the effect of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing was changed.
    None,
    /// Some of it was done; the message or the undo data says what.
    Partial,
    /// All of it was done, and something failed afterwards.
    Complete,
    /// It cannot be told from here; probe before doing it again.
    Unknown,
}

/// Whether the same call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It would fail in the same way, or repeating it is not safe.
    Never,
    /// It may succeed; wait at least this long if a time is given.
    After(Option<Duration>),
    /// It was tried as often as the policy allows.
    Exhausted,
}

/// An error: kind, operation, context, source, known effect, retryability.
///
/// `Display` shows this level only; [`Error::report`] renders the whole chain.
///
/// ```
/// use ecolaura_deploy_core::{Effect, Error, ErrorKind};
/// let error = Error::new(ErrorKind::NotFound, "registry.resolve", "no tag `v2`")
///     .with("repository", "ecolaura/backend")
///     .advice("push the image first");
/// assert_eq!(error.effect(), Effect::None);
/// assert_eq!(error.report(), "no tag `v2` (registry.resolve; repository: ecolaura/backend); push the image first");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Cow<'static, str>,
    message: String,
    context: Vec<(Cow<'static, str>, String)>,
    advice: Option<String>,
    effect: Effect,
    retry: Retry,
    source: Option<BoxError>,
}

impl Error {
    /// An error of `kind` in `operation` (`world.verb`), known to have had no effect. Rate limits and unavailability
    /// may be retried, everything else not, unless [`Error::with_retry`] says otherwise.
    pub fn new(kind: ErrorKind, operation: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::RateLimited | ErrorKind::Unavailable => Retry::After(None),
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            operation: operation.into(),
            message: message.into(),
            context: Vec::new(),
            advice: None,
            effect: Effect::None,
            retry,
            source: None,
        }))
    }

    /// An [`ErrorKind::InvalidInput`].
    pub fn invalid(operation: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, operation, message)
    }

    /// An [`ErrorKind::Internal`].
    pub fn internal(operation: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, operation, message)
    }

    /// An I/O error on `path`, with the kind that its cause implies.
    pub fn io(
        operation: impl Into<Cow<'static, str>>,
        path: impl AsRef<std::path::Path>,
        source: std::io::Error,
    ) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, advice) = match source.kind() {
            Io::NotFound => (ErrorKind::NotFound, None),
            Io::PermissionDenied => (ErrorKind::PermissionDenied, Some("check the owner and mode of the path")),
            Io::AlreadyExists => (ErrorKind::AlreadyExists, None),
            Io::StorageFull | Io::QuotaExceeded => (ErrorKind::LimitExceeded, Some("free some space and run again")),
            Io::ReadOnlyFilesystem => (ErrorKind::PermissionDenied, Some("the file system is read-only")),
            Io::TimedOut => (ErrorKind::Timeout, None),
            Io::ConnectionRefused | Io::ConnectionReset | Io::BrokenPipe => (ErrorKind::Unavailable, None),
            _ => (ErrorKind::Internal, None),
        };
        let error = Self::new(kind, operation, format!("`{}`: {source}", path.as_ref().display())).with_source(source);
        match advice {
            Some(advice) => error.advice(advice),
            None => error,
        }
    }

    /// Adds a named fact: the file, field or object that it is about.
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        self.0.context.push((key.into(), value.to_string()));
        self
    }

    /// Says what the reader should do.
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Sets what is known of the effect.
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.0.effect = effect;
        self
    }

    /// Sets whether the call may be made again.
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Sets the cause.
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation, `world.verb`.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The message of this level, without context and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The named facts, in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.context.iter().map(|(key, value)| (key.as_ref(), value.as_str()))
    }

    /// What the reader should do, if it is known.
    pub fn advice_text(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }

    /// What is known of the effect.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Whether the same call may be made again.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The same with other texts. Causes become one text.
    pub(crate) fn map_texts(mut self, change: impl Fn(&mut String)) -> Self {
        let inner = &mut *self.0;
        change(&mut inner.message);
        inner.context.iter_mut().for_each(|(_, value)| change(value));
        inner.advice.iter_mut().for_each(&change);
        if let Some(source) = inner.source.take() {
            let first: &(dyn std::error::Error + 'static) = &*source;
            let causes = std::iter::successors(Some(first), |cause| cause.source());
            let mut text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            change(&mut text);
            inner.source = Some(text.into());
        }
        self
    }

    /// The whole chain in one line: message, operation and facts, causes, advice. A cause whose text the message
    /// repeats already is left out.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        if let Some(advice) = &self.0.advice {
            text.push_str("; ");
            text.push_str(advice);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.0.message, self.0.operation)?;
        for (key, value) in &self.0.context {
            write!(f, "; {key}: {value}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("effect", &self.0.effect)
            .field("retry", &self.0.retry)
            .field("report", &self.report())
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// What `error` of another library says, and its causes, in one line; a cause that is repeated already is left out.
///
/// ```
/// let error = "x".parse::<u8>().unwrap_err();
/// assert_eq!(ecolaura_deploy_core::causes(&error), "invalid digit found in string");
/// ```
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if !told.iter().any(|part| part.contains(&text)) {
            told.push(text);
        }
        next = cause.source();
    }
    told.join(": ")
}

/// An error as it stands in a record, an event or a report: plain data, already rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorRecord {
    /// The kind.
    pub kind: ErrorKind,
    /// The chain in one line, without the advice.
    pub message: String,
    /// What the reader should do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// What is known of the effect.
    pub effect: Effect,
}

impl From<&Error> for ErrorRecord {
    fn from(error: &Error) -> Self {
        let advice = error.0.advice.clone();
        let mut message = error.report();
        if let Some(advice) = &advice {
            message.truncate(message.len() - advice.len() - 2);
        }
        Self { kind: error.kind(), message, advice, effect: error.effect() }
    }
}

/// What another process said of its error; its chain is the message.
impl From<ErrorRecord> for Error {
    fn from(record: ErrorRecord) -> Self {
        let error = Self::new(record.kind, "elsewhere", record.message).with_effect(record.effect);
        match record.advice {
            Some(advice) => error.advice(advice),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn the_report_shows_each_cause_once() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "gone");
        let error = Error::io("image.build", "/a/b", io);
        assert_eq!(error.report(), "`/a/b`: gone (image.build)");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_record_keeps_advice_apart() {
        let record = ErrorRecord::from(&Error::invalid("a.b", "bad").advice("mend it"));
        assert_eq!((record.message.as_str(), record.advice.as_deref()), ("bad (a.b)", Some("mend it")));
    }
}
