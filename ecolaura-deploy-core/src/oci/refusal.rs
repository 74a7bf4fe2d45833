//! What a registry says when it does not do what it was asked to.

use std::time::Duration;

use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use serde_json::Value;

use super::call::Call;
use crate::{Error, ErrorKind, Retry, clock::Clock};

/// How much of an answer that is no list of errors is shown.
const SHOWN: usize = 200;
/// How much of it is read.
const READ: u64 = 64 * 1024;

/// One error of the list that the distribution specification defines.
#[derive(Debug, Deserialize)]
struct Named {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: Value,
}

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    errors: Vec<Named>,
    /// What came, if it is no such list.
    other: String,
    after: Option<Duration>,
    insufficient: bool,
}

impl Refusal {
    pub(super) async fn read(call: &Call<'_>, response: Response) -> Self {
        #[derive(Deserialize)]
        struct Body {
            errors: Vec<Named>,
        }
        let status = response.status();
        let after = retry_after(response.headers(), call.cx.clock());
        let insufficient = says_insufficient(response.headers());
        let bytes = call.bytes(response, READ).await.unwrap_or_default();
        let text = call.cx.redactor().redact(&String::from_utf8_lossy(&bytes)).into_owned();
        let errors = serde_json::from_str(&text).map_or_else(|_| Vec::new(), |body: Body| body.errors);
        let other = if errors.is_empty() { text } else { String::new() };
        Self { status, errors, other, after, insufficient }
    }

    pub(super) fn has(&self, code: &str) -> bool {
        self.errors.iter().any(|error| error.code.eq_ignore_ascii_case(code))
    }

    /// Whether it says in any words that a tag may not be moved. No two registries use the same.
    pub(super) fn is_about_immutability(&self) -> bool {
        let text = self.text().to_lowercase();
        let said = ["immutable", "already exist", "overwrit", "protected"].iter().any(|word| text.contains(word));
        let refused = [400, 403, 405, 409, 412].contains(&self.status.as_u16());
        refused && (said || matches!(self.status, StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED))
    }

    /// The status and all that came with it, in one line.
    pub(super) fn text(&self) -> String {
        let mut text = self.status.to_string();
        for error in &self.errors {
            text += &[": ", &error.code, ": ", &error.message].concat();
            if !error.detail.is_null() {
                let detail: String = error.detail.to_string().chars().take(SHOWN).collect();
                text += &[" ", &detail].concat();
            }
        }
        let line = self.other.trim().lines().next().unwrap_or_default();
        if !line.is_empty() && !line.starts_with('<') {
            text.extend(": ".chars().chain(line.chars().filter(|found| !found.is_control()).take(SHOWN)));
        }
        text
    }

    fn kind(&self) -> ErrorKind {
        match self.status.as_u16() {
            _ if self.has("TOOMANYREQUESTS") => ErrorKind::RateLimited,
            _ if self.has("DENIED") || self.insufficient => ErrorKind::PermissionDenied,
            400 | 404 | 416 if self.has("BLOB_UPLOAD_UNKNOWN") || self.has("BLOB_UPLOAD_INVALID") => {
                ErrorKind::Conflict
            }
            400 if self.has("DIGEST_INVALID") || self.has("SIZE_INVALID") => ErrorKind::Corrupt,
            400 | 404 if self.has("MANIFEST_BLOB_UNKNOWN") => ErrorKind::NotFound,
            401 => ErrorKind::Unauthenticated,
            403 | 407 => ErrorKind::PermissionDenied,
            404 | 410 => ErrorKind::NotFound,
            405 | 501 => ErrorKind::Unsupported,
            409 | 412 | 416 => ErrorKind::Conflict,
            413 => ErrorKind::LimitExceeded,
            429 => ErrorKind::RateLimited,
            408 | 500..=599 => ErrorKind::Unavailable,
            400..=499 => ErrorKind::InvalidInput,
            _ => ErrorKind::Unsupported,
        }
    }

    fn advice(&self, call: &Call<'_>, kind: ErrorKind) -> Option<String> {
        let (host, access) = (&call.registry.place.host, &call.access);
        Some(match kind {
            ErrorKind::Unauthenticated => format!("check the credentials for `{host}`, and its rights"),
            ErrorKind::PermissionDenied => format!("ask for the right to {} `{}`", access.actions, access.repository),
            ErrorKind::NotFound if self.has("NAME_UNKNOWN") => {
                "create the repository, or check its name and the right to see it".to_owned()
            }
            ErrorKind::NotFound if self.has("MANIFEST_BLOB_UNKNOWN") => {
                format!("`{host}` no longer has what it was sent; push the image again")
            }
            ErrorKind::NotFound => "check the repository's name, and the right to see it".to_owned(),
            ErrorKind::LimitExceeded => format!("`{host}` or a proxy before it takes no larger uploads"),
            ErrorKind::Unavailable => format!("look at the logs of `{host}`"),
            _ => return None,
        })
    }

    /// As an error, known to have had no effect; who changes something says more.
    pub(super) fn error(&self, call: &Call<'_>) -> Error {
        let kind = self.kind();
        let message = format!("`{}` answered {}", call.registry.place.host, self.text());
        let error = Error::new(kind, call.operation, message).with("repository", &call.access.repository);
        let error = match (kind, self.after) {
            (ErrorKind::RateLimited | ErrorKind::Unavailable, Some(after)) => {
                error.with_retry(Retry::After(Some(after)))
            }
            _ => error,
        };
        match self.advice(call, kind) {
            Some(advice) => error.advice(advice),
            None => error,
        }
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(date.duration_since(clock.now())).unwrap_or_default())
}

/// Whether a 401 means that the login is good and the right is missing.
fn says_insufficient(headers: &HeaderMap) -> bool {
    let mut texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    texts.any(|text| text.contains("insufficient_scope"))
}
