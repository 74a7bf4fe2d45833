//! Buckets: that they are there, closed, with former versions and without half uploads.

use aws_sdk_s3::{Client, config::Builder, error::ProvideErrorMetadata, types as s3};
use ecolaura_deploy_core::Result;

use super::{Prepare, failed, incomplete};

impl Prepare<'_> {
    pub(super) fn s3(&self) -> Client {
        let path_style = self.account.path_style();
        Client::from_conf(Builder::from(self.account.sdk_config()).force_path_style(path_style).build())
    }

    /// A bucket that nobody else reads, which keeps former versions and ends half uploads. Of one that is there only what
    /// nobody has said yet is set.
    pub(super) async fn bucket(&mut self, name: &str) -> Result<()> {
        let client = self.s3();
        let new = client.head_bucket().bucket(name).send().await.is_err();
        if new {
            make(&client, name, self.account.region()).await?;
        }
        let set = [
            (close(&client, name).await?, "is closed to the public"),
            (keep_versions(&client, name, new).await?, "keeps former versions"),
            (end_half_uploads(&client, name).await?, "ends half uploads and old versions in time"),
        ];
        match new {
            true => self.made.push(format!("bucket {name}")),
            false => self.made.extend(set.iter().filter(|(now, _)| *now).map(|(_, what)| format!("{name} {what}"))),
        }
        Ok(())
    }
}

async fn make(client: &Client, name: &str, region: &str) -> Result<()> {
    let mut request = client.create_bucket().bucket(name);
    if region != "us-east-1" {
        let place = s3::CreateBucketConfiguration::builder().location_constraint(region.into()).build();
        request = request.create_bucket_configuration(place);
    }
    request.send().await.map(drop).map_err(|error| failed(&format!("the bucket {name} was not made"), error))
}

/// Whether it was done now, as it is of the two below.
async fn close(client: &Client, name: &str) -> Result<bool> {
    match client.get_public_access_block().bucket(name).send().await {
        Err(error) if error.code() == Some("NoSuchPublicAccessBlockConfiguration") => {}
        found => return said(name, found),
    }
    let closed = s3::PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    let request = client.put_public_access_block().bucket(name).public_access_block_configuration(closed);
    request.send().await.map_err(|error| failed(&format!("the bucket {name} was not closed"), error))?;
    Ok(true)
}

async fn keep_versions(client: &Client, name: &str, new: bool) -> Result<bool> {
    match client.get_bucket_versioning().bucket(name).send().await {
        _ if new => {}
        Ok(found) if found.status.is_none() => {}
        // Servers that play S3 answer with another document, which cannot be read.
        Err(error) if error.code().is_none() => return Ok(false),
        found => return said(name, found),
    }
    let kept = s3::VersioningConfiguration::builder().status(s3::BucketVersioningStatus::Enabled).build();
    let request = client.put_bucket_versioning().bucket(name).versioning_configuration(kept);
    request.send().await.map_err(|error| failed(&format!("{name} keeps no former versions"), error))?;
    Ok(true)
}

async fn end_half_uploads(client: &Client, name: &str) -> Result<bool> {
    match client.get_bucket_lifecycle_configuration().bucket(name).send().await {
        Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => {}
        found => return said(name, found),
    }
    let request = client.put_bucket_lifecycle_configuration().bucket(name).lifecycle_configuration(lifecycle()?);
    request.send().await.map_err(|error| failed(&format!("{name} ends no half uploads"), error))?;
    Ok(true)
}

/// Somebody has said it already, or it cannot be known.
fn said<T, E: std::error::Error + Send + Sync + 'static>(name: &str, found: Result<T, E>) -> Result<bool> {
    found.map(|_| false).map_err(|error| failed(&format!("{name} does not tell how it is set up"), error))
}

fn lifecycle() -> Result<s3::BucketLifecycleConfiguration> {
    let half = s3::AbortIncompleteMultipartUpload::builder().days_after_initiation(7).build();
    let former = s3::NoncurrentVersionExpiration::builder().noncurrent_days(90).build();
    let rule = s3::LifecycleRule::builder()
        .id("ecolaura")
        .status(s3::ExpirationStatus::Enabled)
        .filter(s3::LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(half)
        .noncurrent_version_expiration(former)
        .build()
        .map_err(incomplete)?;
    s3::BucketLifecycleConfiguration::builder().rules(rule).build().map_err(incomplete)
}
