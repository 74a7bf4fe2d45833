//! What an API server says, as an [`Error`]: who was asked for what, and whether asking again can help.

mod reach;

use std::{fmt, time::Duration};

use ecolaura_deploy_core::{Effect, Error, ErrorKind, Retry, causes};
use kube::core::Status;

/// What the server says of a namespace that is being deleted.
const TERMINATING: &str = "is being terminated";

/// What was asked of the server.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `cluster.apply`
    pub(crate) operation: &'static str,
    /// `apply`, `read`, …: a verb for people.
    pub(crate) verb: &'static str,
    /// `Deployment dev/web`
    pub(crate) what: String,
    /// Whether it may have changed something when no answer came.
    pub(crate) writes: bool,
}

impl Call {
    pub(crate) fn reads(operation: &'static str, what: impl fmt::Display) -> Self {
        Self { operation, verb: "read", what: what.to_string(), writes: false }
    }

    pub(crate) fn writes(operation: &'static str, verb: &'static str, what: impl fmt::Display) -> Self {
        Self { operation, verb, what: what.to_string(), writes: true }
    }

    /// The error of this call.
    pub(crate) fn failed(&self, server: &str, error: &kube::Error) -> Error {
        if let Some(known) = reach::own(error) {
            return known.with("needed to", format!("{} {}", self.verb, self.what)).with("server", server);
        }
        let failure = match error {
            kube::Error::Api(status) => return self.refused(server, status),
            kube::Error::Auth(_) => Error::new(ErrorKind::Unauthenticated, self.operation, self.said(&causes(error)))
                .advice("check the credentials that the kubeconfig or the token source gives"),
            kube::Error::SerdeError(_) => Error::new(ErrorKind::Corrupt, self.operation, self.said(&causes(error))),
            _ => self.unreached(error),
        };
        failure.with("server", server)
    }

    fn unreached(&self, error: &kube::Error) -> Error {
        let chain = causes(error);
        let Some(reason) = reach::reason(error, &chain) else {
            return Error::new(ErrorKind::Unavailable, self.operation, self.said(&chain))
                .with_effect(if self.writes { Effect::Unknown } else { Effect::None })
                .advice("check that the API server is up and can be reached from here");
        };
        let failure = Error::new(ErrorKind::Unavailable, self.operation, self.said(&reason.what)).advice(reason.advice);
        if reason.lasting { failure.with_retry(Retry::Never) } else { failure }
    }

    /// The error of a call that got no answer for `time`.
    pub(crate) fn unanswered(&self, server: &str, time: Duration) -> Error {
        let message = self.said(&format!("no answer for {} s", time.as_secs()));
        Error::new(ErrorKind::Unavailable, self.operation, message)
            .with_effect(if self.writes { Effect::Unknown } else { Effect::None })
            .with("server", server)
    }

    fn said(&self, said: &str) -> String {
        format!("could not {} {}: {said}", self.verb, self.what)
    }

    fn refused(&self, server: &str, status: &Status) -> Error {
        let kind = kind(status);
        let error = Error::new(kind, self.operation, self.said(&text(status))).with("server", server);
        let error = match advice(kind, status) {
            Some(advice) => error.advice(advice),
            None => error,
        };
        // A server that breaks down in the middle may have written.
        let error = if self.writes && status.code >= 500 { error.with_effect(Effect::Unknown) } else { error };
        match (kind, status.details.as_ref().map_or(0, |details| details.retry_after_seconds)) {
            (ErrorKind::RateLimited | ErrorKind::Unavailable, seconds @ 1..) => {
                error.with_retry(Retry::After(Some(Duration::from_secs(seconds.into()))))
            }
            _ => error,
        }
    }
}

/// What the server said, with the fields that it named.
pub(crate) fn text(status: &Status) -> String {
    let message = status.message.trim();
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let more: Vec<String> =
        causes
            .filter(|cause| !cause.message.is_empty() && !message.contains(&cause.message))
            .map(|cause| {
                if cause.field.is_empty() {
                    cause.message.clone()
                } else {
                    format!("{}: {}", cause.field, cause.message)
                }
            })
            .collect();
    match (message.is_empty(), more.is_empty()) {
        (true, true) => format!("{} {}", status.code, status.reason).trim().to_owned(),
        (false, true) => message.to_owned(),
        (_, false) => format!("{message}: {}", more.join("; ")).trim_start_matches(": ").to_owned(),
    }
}

fn kind(status: &Status) -> ErrorKind {
    match status.code {
        400 | 405 | 406 | 413 | 415 | 422 => ErrorKind::InvalidInput,
        401 => ErrorKind::Unauthenticated,
        403 if is_terminating(status) => ErrorKind::Conflict,
        403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        409 if status.reason == "AlreadyExists" => ErrorKind::AlreadyExists,
        409 => ErrorKind::Conflict,
        429 => ErrorKind::RateLimited,
        _ => ErrorKind::Unavailable,
    }
}

fn is_terminating(status: &Status) -> bool {
    status.message.contains(TERMINATING)
}

/// Whether the server said no because the namespace is going, which waiting does not change.
pub(crate) fn is_of_terminating(error: &Error) -> bool {
    error.kind() == ErrorKind::Conflict && error.message().contains(TERMINATING)
}

fn advice(kind: ErrorKind, status: &Status) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::PermissionDenied if status.message.contains("exceeded quota") => {
            "raise the namespace's quota, or ask for less"
        }
        ErrorKind::PermissionDenied if status.message.contains("violates PodSecurity") => {
            "give the pods the security context that the namespace's pod security level asks for"
        }
        ErrorKind::PermissionDenied if status.message.contains("admission") => "ask whoever runs that admission policy",
        ErrorKind::PermissionDenied => "grant this to the deploying account",
        ErrorKind::Unauthenticated => "renew the credentials; the server does not accept them",
        ErrorKind::Conflict if is_terminating(status) => "wait until the namespace is gone, or name another",
        ErrorKind::Unavailable if status.message.contains("webhook") => {
            "mend the webhook, or have its failurePolicy let the request through"
        }
        _ => return None,
    })
}
