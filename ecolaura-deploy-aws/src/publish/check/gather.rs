//! Reads the facts of a bucket.

use aws_sdk_s3::{
    error::SdkError,
    types::{BucketVersioningStatus, ExpirationStatus},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ecolaura_deploy_core::{ErrorKind, Result};

use super::{Fact, Facts, Place};
use crate::{
    error::Call,
    publish::{
        S3Cdn,
        bucket::{Within, status},
    },
};

impl S3Cdn {
    pub(super) async fn facts(&self, within: Within<'_>) -> Result<Facts> {
        let place = self.bucket_place(within).await?;
        if place != Place::Here {
            return Ok(Facts { place, blocked: Fact::Untold, aborts: Fact::Untold, versioned: Fact::Untold });
        }
        let (blocked, aborts, versioned) =
            futures_util::future::try_join3(self.blocked(within), self.aborts(within), self.versioned(within)).await?;
        Ok(Facts { place, blocked, aborts, versioned })
    }

    async fn bucket_place(&self, within: Within<'_>) -> Result<Place> {
        let call = self.bucket.reads(within, "s3:ListBucket", "");
        let mut request = self.bucket.client.head_bucket().bucket(&self.bucket.name);
        if self.bucket.account.endpoint().is_none() {
            request = request.expected_bucket_owner(self.bucket.account.identity(within.0).await?.account);
        }
        match call.attempt(request.send()).await? {
            Ok(found) => Ok(match found.bucket_region {
                Some(region) if region != self.bucket.account.region() => Place::Elsewhere(Some(region)),
                _ => Place::Here,
            }),
            Err(error) => match status(&error) {
                Some(301 | 307 | 400) => Ok(Place::Elsewhere(region_of(&error))),
                Some(403) => Ok(Place::Closed),
                Some(404) => Ok(Place::Nowhere),
                _ => Err(call.failed(&error)),
            },
        }
    }

    async fn blocked(&self, within: Within<'_>) -> Result<Fact<bool>> {
        let call = self.bucket.reads(within, "s3:GetBucketPublicAccessBlock", "");
        let request = self.bucket.client.get_public_access_block().bucket(&self.bucket.name);
        fact(&call, call.attempt(request.send()).await?, |answer| {
            answer.public_access_block_configuration.is_some_and(|block| {
                let parts = [
                    block.block_public_acls,
                    block.ignore_public_acls,
                    block.block_public_policy,
                    block.restrict_public_buckets,
                ];
                parts.iter().all(|part| *part == Some(true))
            })
        })
    }

    async fn aborts(&self, within: Within<'_>) -> Result<Fact<bool>> {
        let call = self.bucket.reads(within, "s3:GetLifecycleConfiguration", "");
        let request = self.bucket.client.get_bucket_lifecycle_configuration().bucket(&self.bucket.name);
        fact(&call, call.attempt(request.send()).await?, |answer| {
            answer.rules.unwrap_or_default().iter().any(|rule| {
                rule.status == ExpirationStatus::Enabled && rule.abort_incomplete_multipart_upload.is_some()
            })
        })
    }

    async fn versioned(&self, within: Within<'_>) -> Result<Fact<bool>> {
        let call = self.bucket.reads(within, "s3:GetBucketVersioning", "");
        let request = self.bucket.client.get_bucket_versioning().bucket(&self.bucket.name);
        fact(&call, call.attempt(request.send()).await?, |answer| {
            answer.status == Some(BucketVersioningStatus::Enabled)
        })
    }
}

/// What an answer says; a refusal because nothing is configured is a no.
fn fact<T, E>(
    call: &Call<'_>,
    answer: Result<T, SdkError<E, HttpResponse>>,
    read: impl Fn(T) -> bool,
) -> Result<Fact<bool>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let error = match answer {
        Ok(answer) => return Ok(Fact::Known(read(answer))),
        Err(error) => error,
    };
    let code = error.as_service_error().and_then(|error| error.code()).unwrap_or_default();
    let none = ["NoSuchPublicAccessBlockConfiguration", "NoSuchLifecycleConfiguration"];
    let failed = call.failed(&error);
    match failed.kind() {
        _ if none.contains(&code) => Ok(Fact::Known(false)),
        ErrorKind::PermissionDenied => Ok(Fact::Denied),
        // Some stores answer in words of their own, which nobody can read.
        _ if matches!(status(&error), Some(200 | 405 | 501)) => Ok(Fact::Untold),
        _ => Err(failed),
    }
}

/// The region that S3 names when it has the bucket elsewhere.
fn region_of<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    error.raw_response()?.headers().get("x-amz-bucket-region").map(str::to_owned)
}
