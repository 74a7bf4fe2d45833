//! Distributions that show a site, each with its access to the bucket.

use aws_sdk_cloudfront::{Client, types as cdn};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use ecolaura_deploy_core::Result;
use ecolaura_deploy_examples::aws::is_played;
use serde_json::json;

use super::{
    super::{SITE, settings::Place},
    Prepare, failed, incomplete, nothing,
};

/// Policies that every account has: `CachingOptimized` and `SecurityHeadersPolicy`, by their ids in the documentation of
/// `CloudFront`.
const CACHING: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";
const SECURITY_HEADERS: &str = "67f7725c-6f97-4210-82d7-5512b31e9d03";

/// Its id, and the name at which it answers.
type Found = (String, String);

impl Prepare<'_> {
    /// A distribution that shows the site in the bucket of `place`, and nothing else of it.
    pub(super) async fn distribution(&mut self, environment: &str, place: &mut Place) -> Result<()> {
        if !place.distribution.is_empty() {
            return Ok(());
        }
        let client = Client::new(self.account.sdk_config());
        let domain = format!("{}.s3.{}.amazonaws.com", place.bucket, self.account.region());
        let (id, name) = match known(&client, environment, &domain).await? {
            Some(known) => known,
            None => {
                let access = access(&client, environment, &place.bucket).await?;
                let config = config(environment, place, &domain, &access)?;
                let made = client.create_distribution().distribution_config(config).send().await;
                let made =
                    made.map_err(|error| failed(&format!("the distribution of {environment} was not made"), error))?;
                let made = made.distribution.ok_or_else(|| nothing("distribution"))?;
                self.made.push(format!("distribution {} for {}", made.id, place.bucket));
                (made.id, made.domain_name)
            }
        };
        place.address = (!is_played(self.account)).then(|| format!("https://{name}"));
        place.distribution = id;
        Ok(())
    }

    /// Lets the distribution of `place` read its bucket, if nothing is said of who may.
    pub(super) async fn readers(&mut self, place: &Place, number: &str) -> Result<()> {
        let (client, bucket) = (self.s3(), &place.bucket);
        match client.get_bucket_policy().bucket(bucket).send().await {
            Err(error) if error.code() == Some("NoSuchBucketPolicy") => {}
            found => {
                let told = found.map_err(|error| failed(&format!("{bucket} does not tell who may read it"), error));
                return told.map(drop);
            }
        }
        let policy = reading(bucket, &format!("arn:aws:cloudfront::{number}:distribution/{}", place.distribution));
        let request = client.put_bucket_policy().bucket(bucket).policy(policy);
        request.send().await.map_err(|error| failed("the distribution may not read its bucket", error))?;
        self.made.push(format!("{bucket} is read by {}", place.distribution));
        Ok(())
    }
}

/// The distribution that an earlier call made, and whose id was not noted.
async fn known(client: &Client, environment: &str, domain: &str) -> Result<Option<Found>> {
    let mut all = client.list_distributions().into_paginator().send();
    while let Some(page) = all.next().await {
        let page = page.map_err(|error| failed("the distributions cannot be listed", error))?;
        let ours = page.distribution_list.iter().flat_map(cdn::DistributionList::items).find(|found| {
            let mut origins = found.origins.iter().flat_map(|origins| &origins.items);
            found.comment == comment(environment) && origins.any(|origin| origin.domain_name == domain)
        });
        if let Some(ours) = ours {
            return Ok(Some((ours.id.clone(), ours.domain_name.clone())));
        }
    }
    Ok(None)
}

/// The access control of this name, made if it is not there: a name is taken once in an account.
async fn access(client: &Client, environment: &str, name: &str) -> Result<String> {
    let mut all = client.list_origin_access_controls().into_paginator().send();
    while let Some(page) = all.next().await {
        let page = page.map_err(|error| failed("the access controls cannot be listed", error))?;
        let known = page.origin_access_control_list.iter().flat_map(cdn::OriginAccessControlList::items);
        if let Some(known) = known.into_iter().find(|known| known.name == name) {
            return Ok(known.id.clone());
        }
    }
    let request = client.create_origin_access_control().origin_access_control_config(signed(name)?);
    let made = request.send().await;
    let made = made.map_err(|error| failed(&format!("the access control of {environment} was not made"), error))?;
    made.origin_access_control.map(|made| made.id).ok_or_else(|| nothing("access control"))
}

fn comment(environment: &str) -> String {
    format!("ecolaura {environment}")
}

fn signed(name: &str) -> Result<cdn::OriginAccessControlConfig> {
    cdn::OriginAccessControlConfig::builder()
        .name(name)
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
        .comment(comment(environment))
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
