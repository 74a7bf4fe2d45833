//! Makes what the platform needs in an account and what is not there: buckets, distributions, secrets. An operator does
//! that once, with rights that no release has. What is there stays as it is.

use std::path::Path;

use aws_sdk_cloudfront::types as cdn;
use aws_sdk_s3::types as s3;
use ecolaura_deploy_aws::{Account, SecretsManager};
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result, Secret, analysis::scan::AllowEntry, backend::SecretStore as _,
};
use ecolaura_deploy_examples::aws::{connect, is_played};
use serde_json::json;

use super::{
    SITE,
    settings::{Place, Settings},
};
use crate::ship::storage::new_token;

const OPERATION: &str = "ship.prepare";

/// Policies that every account has: `CachingOptimized` and `SecurityHeadersPolicy`, by their ids in the documentation of
/// `CloudFront`.
const CACHING: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";
const SECURITY_HEADERS: &str = "67f7725c-6f97-4210-82d7-5512b31e9d03";

/// The finding that moto makes up for every image, and until when it is let pass.
const MADE_UP: (&str, &str) = ("CVE-9999-9999", "2099-12-31");

/// Makes what `file` names and is not there, and writes `file`, anew if it is not there itself. Answers with what was
/// made.
pub async fn all(file: &Path) -> Result<Vec<String>> {
    let cx = Context::new("dev".parse()?);
    let known = file.exists().then(|| Settings::read(file)).transpose()?;
    let account = connect(&cx, known.as_ref().map(|settings| settings.region.as_str())).await?;
    let identity = account.identity(&cx).await?;
    let mut settings = match known {
        Some(settings) => settings,
        None => Settings::new(&identity.account, account.region())?,
    };
    account.expect(&cx, &settings.account, &settings.region).await?;
    let mut prepare = Prepare { account: &account, made: Vec::new() };
    prepare.bucket(&settings.records).await?;
    for environment in settings.environments.keys().cloned().collect::<Vec<_>>() {
        if let Some(place) = settings.environments.get_mut(&environment) {
            prepare.bucket(&place.bucket).await?;
            prepare.distribution(environment.as_str(), place, &identity.account).await?;
            prepare.secret(&cx, place).await?;
        }
        // A distribution that was made is known from here on, whatever becomes of the rest.
        settings.write(file)?;
    }
    if is_played(&account) && settings.tolerate.is_empty() {
        let (id, until) = MADE_UP;
        let until = until.parse().map_err(|error| Error::internal(OPERATION, format!("{error}")))?;
        settings.tolerate.push(AllowEntry::new(id, until, "made up by servers that play AWS"));
        settings.write(file)?;
    }
    let mut lines = prepare.made;
    if lines.is_empty() {
        lines.push("everything was there".to_owned());
    }
    lines.push(format!("what the platform has is in {}", file.display()));
    Ok(lines)
}

struct Prepare<'a> {
    account: &'a Account,
    made: Vec<String>,
}

impl Prepare<'_> {
    fn s3(&self) -> aws_sdk_s3::Client {
        let path_style = self.account.path_style();
        let config = aws_sdk_s3::config::Builder::from(self.account.sdk_config()).force_path_style(path_style).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// A bucket that nobody else reads, which keeps former versions and ends half uploads.
    async fn bucket(&mut self, name: &str) -> Result<()> {
        let client = self.s3();
        if client.head_bucket().bucket(name).send().await.is_ok() {
            return Ok(());
        }
        let region = self.account.region();
        let mut request = client.create_bucket().bucket(name);
        if region != "us-east-1" {
            let place = s3::CreateBucketConfiguration::builder().location_constraint(region.into()).build();
            request = request.create_bucket_configuration(place);
        }
        request.send().await.map_err(|error| failed(&format!("the bucket {name} was not made"), error))?;
        let closed = s3::PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        let request = client.put_public_access_block().bucket(name).public_access_block_configuration(closed);
        request.send().await.map_err(|error| failed(&format!("the bucket {name} was not closed"), error))?;
        let kept = s3::VersioningConfiguration::builder().status(s3::BucketVersioningStatus::Enabled).build();
        let request = client.put_bucket_versioning().bucket(name).versioning_configuration(kept);
        request.send().await.map_err(|error| failed(&format!("{name} keeps no former versions"), error))?;
        let request = client.put_bucket_lifecycle_configuration().bucket(name).lifecycle_configuration(lifecycle()?);
        request.send().await.map_err(|error| failed(&format!("{name} ends no half uploads"), error))?;
        self.made.push(format!("bucket {name}"));
        Ok(())
    }

    /// A distribution that shows the site in the bucket of `place`, and nothing else of it.
    async fn distribution(&mut self, environment: &str, place: &mut Place, number: &str) -> Result<()> {
        if !place.distribution.is_empty() {
            return Ok(());
        }
        let client = aws_sdk_cloudfront::Client::new(self.account.sdk_config());
        let request = client.create_origin_access_control().origin_access_control_config(access(&place.bucket)?);
        let access = request.send().await;
        let access =
            access.map_err(|error| failed(&format!("the access control of {environment} was not made"), error))?;
        let access = access.origin_access_control().map(|control| control.id().to_owned()).unwrap_or_default();
        let domain = format!("{}.s3.{}.amazonaws.com", place.bucket, self.account.region());
        let request = client.create_distribution().distribution_config(config(environment, place, &domain, &access)?);
        let made = request.send().await;
        let made = made.map_err(|error| failed(&format!("the distribution of {environment} was not made"), error))?;
        let made = made.distribution.ok_or_else(|| nothing("distribution"))?;
        let policy = reading(&place.bucket, &format!("arn:aws:cloudfront::{number}:distribution/{}", made.id));
        let request = self.s3().put_bucket_policy().bucket(&place.bucket).policy(policy);
        request.send().await.map_err(|error| failed("the distribution may not read its bucket", error))?;
        place.address = (!is_played(self.account)).then(|| format!("https://{}", made.domain_name));
        self.made.push(format!("distribution {} for {}", made.id, place.bucket));
        place.distribution = made.id;
        Ok(())
    }

    async fn secret(&mut self, cx: &Context, place: &Place) -> Result<()> {
        let (store, name) = (SecretsManager::new("secrets".parse()?, self.account), place.token());
        match store.resolve(cx, &name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let token = new_token().map_err(|error| Error::io(OPERATION, Path::new("/dev/urandom"), error))?;
                store.put(cx, &name, &Secret::new(token)).await?;
                self.made.push(format!("secret {name}"));
                Ok(())
            }
            found => found.map(drop),
        }
    }
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

fn access(bucket: &str) -> Result<cdn::OriginAccessControlConfig> {
    cdn::OriginAccessControlConfig::builder()
        .name(bucket)
        .signing_protocol(cdn::OriginAccessControlSigningProtocols::Sigv4)
        .signing_behavior(cdn::OriginAccessControlSigningBehaviors::Always)
        .origin_access_control_origin_type(cdn::OriginAccessControlOriginTypes::S3)
        .build()
        .map_err(incomplete)
}

fn config(environment: &str, place: &Place, domain: &str, access: &str) -> Result<cdn::DistributionConfig> {
    let none = cdn::S3OriginConfig::builder().origin_access_identity("").build();
    let origin = cdn::Origin::builder()
        .id("site")
        .domain_name(domain)
        .origin_path(format!("/{SITE}"))
        .origin_access_control_id(access)
        .s3_origin_config(none)
        .build()
        .map_err(incomplete)?;
    let origins = cdn::Origins::builder().quantity(1).items(origin).build().map_err(incomplete)?;
    let behavior = cdn::DefaultCacheBehavior::builder()
        .target_origin_id("site")
        .viewer_protocol_policy(cdn::ViewerProtocolPolicy::RedirectToHttps)
        .compress(true)
        .cache_policy_id(CACHING)
        .response_headers_policy_id(SECURITY_HEADERS)
        .build()
        .map_err(incomplete)?;
    let missing = cdn::CustomErrorResponse::builder()
        .error_code(404)
        .response_code("404")
        .response_page_path("/404.html")
        .error_caching_min_ttl(10)
        .build()
        .map_err(incomplete)?;
    let missing = cdn::CustomErrorResponses::builder().quantity(1).items(missing).build().map_err(incomplete)?;
    cdn::DistributionConfig::builder()
        .caller_reference(&place.bucket)
        .comment(format!("ecolaura {environment}"))
        .enabled(true)
        .default_root_object("index.html")
        .origins(origins)
        .default_cache_behavior(behavior)
        .custom_error_responses(missing)
        .build()
        .map_err(incomplete)
}

/// Reading the site, and hearing that something is not there instead of that it is forbidden.
fn reading(bucket: &str, distribution: &str) -> String {
    let (who, only) =
        (json!({"Service": "cloudfront.amazonaws.com"}), json!({"StringEquals": {"AWS:SourceArn": distribution}}));
    let statement = |action: &str, resource: String| json!({"Effect": "Allow", "Principal": who, "Action": action, "Resource": resource, "Condition": only});
    let statements = [
        statement("s3:GetObject", format!("arn:aws:s3:::{bucket}/{SITE}/*")),
        statement("s3:ListBucket", format!("arn:aws:s3:::{bucket}")),
    ];
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &str, error: E) -> Error {
    let message = format!("{what}: {}", aws_sdk_s3::error::DisplayErrorContext(&error));
    Error::new(ErrorKind::Unavailable, OPERATION, message)
        .with_source(error)
        .advice("what was made stays; run it again when that is mended")
}

fn nothing(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION, format!("the answer names no {what}"))
}

fn incomplete<E: std::error::Error + Send + Sync + 'static>(error: E) -> Error {
    Error::internal(OPERATION, "a request is incomplete").with_source(error)
}
