//! What AWS answers, as an [`Error`]: what was called on which resource, and whether calling again can help.

mod codes;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use ecolaura_deploy_core::{Context, Effect, Error, ErrorKind, Result, Retry, causes};

use crate::{CALLS, account::NotTakenOn};

#[cfg(feature = "s3")]
pub(crate) use self::codes::is_expired;

/// How much of what AWS says gets into an error.
const LONGEST: usize = 600;

/// A call, as a policy names it.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    pub(crate) cx: &'a Context,
    /// `secrets.get`
    pub(crate) operation: &'static str,
    /// `secretsmanager:GetSecretValue`
    pub(crate) action: &'static str,
    /// Its ARN; `*` where a policy can name none.
    pub(crate) resource: String,
    /// Whether it may have changed something when no answer came.
    pub(crate) writes: bool,
    /// How often it is made if it fails.
    pub(crate) attempts: u32,
}

/// What came instead of a good answer.
#[derive(Debug, Default)]
struct Refusal {
    code: Option<String>,
    message: Option<String>,
    status: Option<u16>,
    request: Option<String>,
}

impl Call<'_> {
    /// Makes the call.
    pub(crate) fn send<T, E>(
        &self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<T>> + Send
    where
        E: ProvideErrorMetadata + StdError + Send + 'static,
        T: Send,
    {
        let answer = self.attempt(request);
        async move { answer.await?.map_err(|error| self.failed(&error)) }
    }

    /// Makes the call, for callers that know what to do with some refusals; [`Call::failed`] is for the others.
    pub(crate) fn attempt<T, E>(
        &self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<Result<T, SdkError<E, HttpResponse>>>> + Send {
        // The SDK's futures take kilobytes each, which would add up in those of the callers.
        let request = Box::pin(request);
        async move {
            tracing::debug!(target: CALLS, action = self.action, resource = self.resource, "call");
            let answer = self.cx.bounded(self.operation, request).await;
            answer.map_err(|error| self.about(error.with_effect(self.unknown())))
        }
    }

    /// Makes the call; `None` if it is refused in the way that `expected` knows.
    #[cfg_attr(
        not(any(feature = "ecr", feature = "key-value-store", feature = "rds", feature = "secrets-manager")),
        expect(dead_code, reason = "services use it")
    )]
    pub(crate) fn unless<T, E>(
        &self,
        expected: fn(&E) -> bool,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<Option<T>>> + Send
    where
        E: ProvideErrorMetadata + StdError + Send + 'static,
        T: Send,
    {
        let answer = self.attempt(request);
        async move {
            match answer.await? {
                Ok(answer) => Ok(Some(answer)),
                Err(error) if error.as_service_error().is_some_and(expected) => Ok(None),
                Err(error) => Err(self.failed(&error)),
            }
        }
    }

    /// What AWS says to this call, of a refusal that is no failure yet.
    #[cfg(feature = "rds")]
    pub(crate) fn words(&self, refusal: &impl ProvideErrorMetadata) -> String {
        clean(self.cx, refusal.message().unwrap_or("no reason given"))
    }

    /// The error of this call.
    pub(crate) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let failure = match error {
            SdkError::ServiceError(refused) => {
                let said = refused.err().meta();
                return self.refused(&Refusal {
                    code: said.code().map(str::to_owned),
                    message: said.message().map(str::to_owned),
                    status: Some(refused.raw().status().as_u16()),
                    request: error.request_id().map(str::to_owned),
                });
            }
            _ if credentials(error).is_some() => no_credentials(self.cx, self.operation, error),
            SdkError::ConstructionFailure(_) => Error::invalid(self.operation, self.said(error)),
            SdkError::ResponseError(_) => {
                Error::new(ErrorKind::Unavailable, self.operation, self.said(error)).with_effect(self.unknown())
            }
            _ => self.unreached(error),
        };
        self.about(failure)
    }

    /// The error of this call where another client made it: by what that says of the answer.
    #[cfg(feature = "run-store")]
    pub(crate) fn told(&self, error: &Error) -> Error {
        if credentials(error).is_some() {
            return self.about(no_credentials(self.cx, self.operation, error));
        }
        let failure = match Refusal::within(&causes(error)) {
            Some(refusal) => self.refused(&refusal),
            None => self.unreached(error),
        };
        self.about(failure)
    }

    fn unreached(&self, error: &(dyn StdError + 'static)) -> Error {
        Error::new(ErrorKind::Unavailable, self.operation, self.said(error))
            .with_effect(self.unknown())
            .with_retry(self.again())
            .advice("check that AWS can be reached from here, through HTTPS_PROXY if there is one")
    }

    fn refused(&self, refusal: &Refusal) -> Error {
        let kind = codes::kind(refusal.code.as_deref(), refusal.status);
        let text = refusal.text(kind);
        let mut error =
            Error::new(kind, self.operation, format!("{} on {}: {}", self.action, self.resource, self.clean(&text)));
        if matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable) {
            error = error.with_retry(self.again());
        }
        if kind == ErrorKind::Unavailable {
            // A service that breaks down in the middle may have written.
            error = error.with_effect(self.unknown());
        }
        if let Some(advice) = self.advice(kind, refusal.code.as_deref()) {
            error = error.advice(advice);
        }
        refusal.request.iter().fold(error, |error, request| error.with("request", request))
    }

    fn advice(&self, kind: ErrorKind, code: Option<&str>) -> Option<String> {
        Some(match kind {
            ErrorKind::PermissionDenied => format!(
                "allow `{}` on `{}` to this role; if it is allowed, look for what denies it: the resource's own policy, a \
                 permissions boundary, a policy of the organization",
                self.action, self.resource
            ),
            ErrorKind::Unauthenticated if code.is_some_and(codes::is_expired) => {
                "the credentials have ended; log in again, and run again: what is in place already is not done twice"
                    .to_owned()
            }
            ErrorKind::Unauthenticated => {
                "check the credentials, and the clock of this machine: AWS refuses what is signed at another time"
                    .to_owned()
            }
            ErrorKind::InvalidInput if code.is_some_and(codes::is_region) => {
                "the resource is in another region; connect to that one".to_owned()
            }
            _ => return None,
        })
    }

    /// Who owns the retries has made them already, unless there were none.
    fn again(&self) -> Retry {
        if self.attempts > 1 { Retry::Exhausted } else { Retry::After(None) }
    }

    fn unknown(&self) -> Effect {
        if self.writes { Effect::Unknown } else { Effect::None }
    }

    fn said(&self, error: &(dyn StdError + 'static)) -> String {
        format!("{} on {}: {}", self.action, self.resource, self.clean(&causes(error)))
    }

    fn clean(&self, text: &str) -> String {
        clean(self.cx, text)
    }

    fn about(&self, error: Error) -> Error {
        error.with("action", self.action).with("resource", &self.resource)
    }
}

impl Refusal {
    /// The one that `text` tells of, if it does: a status, and perhaps the document that S3 answers with.
    #[cfg(feature = "run-store")]
    fn within(text: &str) -> Option<Self> {
        let part = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
        };
        let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)?.parse().ok());
        let code = part("Code");
        (code.is_some() || status.is_some()).then(|| Self {
            code,
            message: part("Message"),
            status,
            request: part("RequestId"),
        })
    }

    /// What AWS says. Of requests whose signature it refuses it repeats the headers, tokens among them.
    fn text(&self, kind: ErrorKind) -> String {
        let code = self.code.clone().or_else(|| self.status.map(|status| format!("status {status}")));
        let code = code.unwrap_or_else(|| "refused without a reason".to_owned());
        match self.message.as_deref().filter(|text| !text.is_empty() && kind != ErrorKind::Unauthenticated) {
            Some(message) => format!("{code}: {message}"),
            None => code,
        }
    }
}

/// The error where nobody gave credentials.
pub(crate) fn no_credentials(cx: &Context, operation: &'static str, cause: &(dyn StdError + 'static)) -> Error {
    let message = format!("there are no credentials: {}", clean(cx, &causes(cause)));
    let error = Error::new(ErrorKind::Unauthenticated, operation, message);
    match behind::<NotTakenOn>(cause) {
        Some(NotTakenOn { arn, .. }) => error.with("role", arn).advice(
            "allow `sts:AssumeRole` on the role to whoever takes it on, and let its own trust name them; a length or an \
             external id may be refused too",
        ),
        None => error.advice(
            "set AWS_PROFILE, log in, or run where a role is given: a pod with an identity, an instance with a profile",
        ),
    }
}

/// The failure to get credentials behind `error`, if it is that.
fn credentials<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CredentialsError> {
    behind(error)
}

/// The first of the causes that is a `T`.
fn behind<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| (**error).source()).find_map(|error| error.downcast_ref())
}

fn clean(cx: &Context, text: &str) -> String {
    let text = cx.redactor().redact(text);
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(end, _)| end);
    text[..end].to_owned()
}
