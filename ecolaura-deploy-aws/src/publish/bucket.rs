//! The calls on one bucket.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_s3::{
    Client,
    config::Builder,
    error::SdkError,
    primitives::ByteStream,
    types::{Delete, MetadataDirective, ObjectIdentifier},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bytes::Bytes;
use ecolaura_deploy_core::{Context, Effect, Error, ErrorKind, Result, vocabulary::Digest};

use super::{
    headers::{DIGEST, Headers, MARK, with_headers},
    patience::{copying, patient},
    signed,
};
use crate::{Account, Scope, account::renewing, error::Call};

/// How many keys one `DeleteObjects` takes.
const DELETED_AT_ONCE: usize = 1000;

/// How often a write is made that meets another one on its way, for which S3 asks.
pub(super) const COLLISIONS: u32 = 5;
/// The pause after the first of those. Each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(100);

/// For whom, and in which operation.
pub(super) type Within<'a> = (&'a Context, &'static str);

/// A bucket in an account.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) client: Client,
    pub(super) account: Account,
    pub(super) name: String,
}

/// What is wanted of the object that is there before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing.
    Any,
    /// That there is none.
    New,
    /// That it is this one, by its `ETag`.
    Is(String),
}

/// What an object tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) size: u64,
    /// The digest of its content, if we wrote it.
    pub(super) digest: Option<Digest>,
    /// The mark of content and headers, if we wrote it as a served object.
    pub(super) mark: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Bucket {
    pub(super) fn new(account: Account, name: String) -> Self {
        let config = Builder::from(account.sdk_config()).force_path_style(account.path_style());
        Self { client: Client::from_conf(renewing!(config).build()), account, name }
    }

    /// The bucket's ARN, or that of `key` in it.
    pub(super) fn arn(&self, key: &str) -> String {
        let Scope { partition, .. } = Scope::new(self.account.region(), "");
        let slash = if key.is_empty() { "" } else { "/" };
        format!("arn:{partition}:s3:::{}{slash}{key}", self.name)
    }

    /// How people name `key`.
    pub(super) fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    pub(super) fn reads<'a>(&self, within: Within<'a>, action: &'static str, key: &str) -> Call<'a> {
        self.account.reads(within, action, self.arn(key))
    }

    pub(super) fn writes<'a>(&self, within: Within<'a>, action: &'static str, key: &str) -> Call<'a> {
        self.account.writes(within, action, self.arn(key))
    }

    /// The content and the `ETag` of `key`; `None` if there is none.
    pub(super) async fn get(&self, within: Within<'_>, key: &str) -> Result<Option<(Bytes, String)>> {
        let call = self.reads(within, "s3:GetObject", key);
        let answer = match call.attempt(self.client.get_object().bucket(&self.name).key(key).send()).await? {
            Ok(answer) => answer,
            Err(error) if status(&error) == Some(404) && !has_code(&error, "NoSuchBucket") => return Ok(None),
            Err(error) => return Err(call.failed(&error)),
        };
        let tag = answer.e_tag.unwrap_or_default();
        let body = within.0.bounded(within.1, answer.body.collect()).await?.map_err(|error| {
            let message = format!("`{}` could not be read to its end", self.url(key));
            Error::new(ErrorKind::Unavailable, within.1, message).with_source(error)
        })?;
        Ok(Some((body.into_bytes(), tag)))
    }

    /// Writes `key` if `condition` holds. `headers` tell the digest of `content`, and the signature does too: S3 refuses
    /// anything else. Answers with its `ETag`, or `None` if something else is there or came at the same time. Each attempt may
    /// take as long as `patience`.
    pub(super) async fn put(
        &self,
        within: Within<'_>,
        key: &str,
        content: Bytes,
        (condition, headers): (&Condition, &Headers),
        patience: Duration,
    ) -> Result<Option<String>> {
        let call = self.writes(within, "s3:PutObject", key);
        let request = self.client.put_object().bucket(&self.name).key(key).body(ByteStream::from(content));
        let request = with_headers!(request, headers);
        let request = match condition {
            Condition::Any => request,
            Condition::New => request.if_none_match("*"),
            Condition::Is(tag) => request.if_match(tag),
        };
        let request = request.customize().config_override(patient(patience));
        let request = request.interceptor(signed::Digested(headers.digest().to_owned()));
        let answer = match call.attempt(request.send()).await? {
            // So S3 answers where the object of that tag was removed.
            Err(error) if matches!(condition, Condition::Is(_)) && has_code(&error, "NoSuchKey") => return Ok(None),
            answer => answer,
        };
        Ok(written(&call, answer)?.map(|answer| answer.e_tag.unwrap_or_default()))
    }

    /// What `key` tells of itself; `None` if there is none.
    pub(super) async fn head(&self, within: Within<'_>, key: &str) -> Result<Option<Seen>> {
        let call = self.reads(within, "s3:GetObject", key);
        let answer = match call.attempt(self.client.head_object().bucket(&self.name).key(key).send()).await? {
            Ok(answer) => answer,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(call.failed(&error)),
        };
        let metadata: BTreeMap<_, _> = answer.metadata.unwrap_or_default().into_iter().collect();
        let digest = metadata.get(DIGEST).and_then(|hex| format!("sha256:{hex}").parse().ok());
        Ok(Some(Seen { size: size(answer.content_length), digest, mark: metadata.get(MARK).cloned(), metadata }))
    }

    /// Copies `source` of `size` bytes to `target` within S3, under new headers.
    pub(super) async fn copy(
        &self,
        within: Within<'_>,
        (source, size): (&str, u64),
        target: &str,
        headers: &Headers,
    ) -> Result<()> {
        let call = self.writes(within, "s3:PutObject", target);
        let request = self.client.copy_object().bucket(&self.name).key(target);
        let request = request.copy_source(format!("{}/{}", self.name, encoded(source)));
        let request = with_headers!(request, headers).metadata_directive(MetadataDirective::Replace);
        let request = request.customize().config_override(patient(copying(size)));
        call.send(request.send()).await.map_err(|error| error.with("source", self.url(source)))?;
        Ok(())
    }

    /// Deletes `keys`, which all begin with `prefix`; what is not there is success. Stops at the first thousand of which
    /// some cannot be deleted.
    pub(super) async fn delete(&self, within: Within<'_>, prefix: &str, keys: &[String]) -> Result<()> {
        for (number, keys) in keys.chunks(DELETED_AT_ONCE).enumerate() {
            let wanted = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
            let wanted = wanted
                .collect::<Result<Vec<_>, _>>()
                .and_then(|keys| Delete::builder().set_objects(Some(keys)).quiet(true).build());
            let wanted =
                wanted.map_err(|error| Error::internal(within.1, "a deletion without keys").with_source(error))?;
            let call = self.writes(within, "s3:DeleteObject", &format!("{prefix}*"));
            let request = self.client.delete_objects().bucket(&self.name).delete(wanted);
            let answer = call.send(request.send()).await?;
            let failed = answer.errors.unwrap_or_default();
            if let Some(first) = failed.first() {
                return Err(self.undeleted(within, number * DELETED_AT_ONCE, failed.len(), first));
            }
        }
        Ok(())
    }

    fn undeleted(&self, within: Within<'_>, before: usize, count: usize, first: &aws_sdk_s3::types::Error) -> Error {
        let code = first.code().unwrap_or_default();
        let kind = match code {
            "AccessDenied" => ErrorKind::PermissionDenied,
            "SlowDown" => ErrorKind::RateLimited,
            _ => ErrorKind::Unavailable,
        };
        let key = self.url(first.key().unwrap_or_default());
        let message = format!("{count} objects could not be deleted, the first is `{key}`: {code}");
        Error::new(kind, within.1, message)
            .with("action", "s3:DeleteObject")
            .with("resource", self.arn("*"))
            .with("deleted before", before)
            .with_effect(Effect::Partial)
            .advice("allow the action on the bucket's objects, and run again: what is gone is not asked for twice")
    }
}

/// Waits for the write that was met `met` times.
pub(super) async fn pass((cx, operation): Within<'_>, met: u32) -> Result<()> {
    match met.checked_sub(1) {
        Some(doubled) => cx.sleep(operation, PAUSE * 2_u32.pow(doubled)).await,
        None => Ok(()),
    }
}

/// The answer to a write that had a condition; `None` if the condition did not hold.
pub(super) fn written<T, E>(call: &Call<'_>, answer: Result<T, SdkError<E, HttpResponse>>) -> Result<Option<T>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(status(&error), Some(409 | 412)) => Ok(None),
        Err(error) => Err(call.failed(&error)),
    }
}

/// The status of an answer that was a refusal.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    match error {
        SdkError::ServiceError(refused) => Some(refused.raw().status().as_u16()),
        _ => None,
    }
}

/// Whether it is a refusal by this name.
pub(super) fn has_code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, code: &str) -> bool {
    error.as_service_error().is_some_and(|error| error.code() == Some(code))
}

pub(super) fn size(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default()
}

/// `key` as the header `x-amz-copy-source` has it.
fn encoded(key: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(char::from(byte)),
            _ => _ = write!(text, "%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_a_copy_is_encoded_but_for_its_slashes() {
        assert_eq!(encoded("a b/ü+?.js"), "a%20b/%C3%BC%2B%3F.js");
    }
}
