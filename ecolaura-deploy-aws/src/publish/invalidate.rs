//! Making `CloudFront` forget.

use std::time::Duration;

use aws_sdk_cloudfront::{
    Client,
    config::Builder,
    error::SdkError,
    operation::create_invalidation::CreateInvalidationError,
    types::{InvalidationBatch, Paths},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ecolaura_deploy_core::{Effect, Error, ErrorKind, Result, backend::Invalidation, cdn::cached_path};

use super::{S3Cdn, bucket::Within};
use crate::{
    Account, Scope,
    account::renewing,
    wait::{Pace, Wait},
};

/// How long an invalidation may take, the wait for its turn included.
const PATIENCE: Duration = Duration::from_mins(15);
/// The first and the longest pause between two questions.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(20));

/// A distribution that is before the bucket.
#[derive(Debug, Clone)]
pub(super) struct Distribution {
    pub(super) id: String,
    pub(super) client: Client,
    account: Account,
    /// What viewers' paths begin with, without `/` at the end.
    pub(super) below: String,
    patience: Duration,
}

impl S3Cdn {
    /// With the distribution `id` before the bucket, whose caches are told to forget. Its origin's path should be the
    /// prefix.
    pub fn distribution(mut self, id: impl Into<String>) -> Self {
        let account = self.bucket.account.clone();
        let client = Client::from_conf(renewing!(Builder::from(account.sdk_config())).build());
        let distribution = Distribution { id: id.into(), client, account, below: String::new(), patience: PATIENCE };
        self.distribution = Some(distribution);
        self
    }

    /// Viewers see the site below `path` of the distribution, whose origin's path is then not the whole prefix. Counts
    /// if it comes after [`S3Cdn::distribution`].
    pub fn seen_below(mut self, path: impl AsRef<str>) -> Self {
        if let Some(distribution) = &mut self.distribution {
            distribution.below = match path.as_ref().trim_matches('/') {
                "" => String::new(),
                path => format!("/{path}"),
            };
        }
        self
    }

    /// How long an invalidation is waited for (default 15 minutes). Counts if it comes after [`S3Cdn::distribution`].
    pub fn invalidated_within(mut self, patience: Duration) -> Self {
        if let Some(distribution) = &mut self.distribution {
            distribution.patience = patience;
        }
        self
    }
}

/// What is to be done about a refusal.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Others are under way; ask again later.
    TooMany,
    /// The reference was used for other paths.
    Reused,
    Other,
}

/// `CloudFront` names a reused reference in two ways, of which its model knows neither.
fn refusal(code: Option<&str>, message: Option<&str>) -> Refusal {
    match code {
        Some("TooManyInvalidationsInProgress") => Refusal::TooMany,
        Some("InvalidationBatchAlreadyExists") => Refusal::Reused,
        Some("InvalidArgument") if message.is_some_and(|text| text.to_lowercase().contains("caller reference")) => {
            Refusal::Reused
        }
        _ => Refusal::Other,
    }
}

impl Distribution {
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// As policies name it; its account is the caller's own.
    pub(super) fn arn(&self) -> String {
        let Scope { partition, .. } = Scope::new(self.account.region(), "");
        format!("arn:{partition}:cloudfront::*:distribution/{}", self.id)
    }

    /// Asks for it, and waits until it is done. Asking again under the same reference finds the same invalidation.
    pub(super) async fn invalidate(&self, within: Within<'_>, invalidation: &Invalidation) -> Result<()> {
        if invalidation.paths.is_empty() {
            return Ok(());
        }
        let batch = self.batch(within, invalidation)?;
        let mut wait = self.waiting(within);
        let answer = match self.ask(within, &batch, &mut wait).await {
            Ok(id) => self.await_end(within, &id, &mut wait).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| error.with("distribution", &self.id))
    }

    /// What was switched is served, and a reference is asked for once however often it is: waiting does no harm.
    fn waiting<'a>(&self, within: Within<'a>) -> Wait<'a> {
        let pace = Pace { patience: self.patience, pause: PAUSES.0, longest: PAUSES.1 };
        let advice = "the switch is done, the new release is served; caches may hold old pages for as long as these allow; \
                      run again to wait on: nothing is asked for twice";
        Wait::new(within, pace, (Effect::None, advice)).reached(true)
    }

    fn batch(&self, within: Within<'_>, invalidation: &Invalidation) -> Result<InvalidationBatch> {
        let paths = self.as_asked(&invalidation.paths);
        let quantity = i32::try_from(paths.len()).unwrap_or(i32::MAX);
        let incomplete = |error| Error::internal(within.1, "an incomplete invalidation").with_source(error);
        let paths = Paths::builder().quantity(quantity).set_items(Some(paths)).build().map_err(incomplete)?;
        let batch = InvalidationBatch::builder().caller_reference(&invalidation.reference).paths(paths);
        batch.build().map_err(incomplete)
    }

    /// The site's paths as viewers ask for them.
    fn as_asked(&self, paths: &[String]) -> Vec<String> {
        match self.below.strip_prefix('/').map(cached_path) {
            None => paths.to_vec(),
            // Caches know what is below by no other path.
            Some(all) if all.ends_with('*') => vec![all],
            Some(below) => paths.iter().map(|path| format!("{below}{path}")).collect(),
        }
    }

    /// The id of the invalidation.
    async fn ask(&self, within: Within<'_>, batch: &InvalidationBatch, wait: &mut Wait<'_>) -> Result<String> {
        loop {
            let call = self.account.writes(within, "cloudfront:CreateInvalidation", self.arn());
            let request = self.client.create_invalidation().distribution_id(&self.id).invalidation_batch(batch.clone());
            let error = match call.attempt(request.send()).await? {
                Ok(answer) => return id_of(within, answer.invalidation),
                Err(error) => error,
            };
            match Self::refusal(&error) {
                Refusal::TooMany => wait.pause("the invalidation", "not begun: others are in progress").await?,
                Refusal::Reused => return Err(reused(within, batch, call.failed(&error))),
                Refusal::Other => {
                    wait.heard::<()>(Err(call.failed(&error))).await?;
                }
            }
        }
    }

    fn refusal(error: &SdkError<CreateInvalidationError, HttpResponse>) -> Refusal {
        let meta = error.as_service_error().map(CreateInvalidationError::meta);
        refusal(meta.and_then(|meta| meta.code()), meta.and_then(|meta| meta.message()))
    }

    async fn await_end(&self, within: Within<'_>, id: &str, wait: &mut Wait<'_>) -> Result<()> {
        wait.has(Effect::Complete);
        let call = self.account.reads(within, "cloudfront:GetInvalidation", self.arn());
        let look = || call.send(self.client.get_invalidation().distribution_id(&self.id).id(id).send());
        loop {
            // It goes on whether it can be asked or not.
            let answer =
                wait.look(look).await.map_err(|error| error.with("invalidation", id).with_effect(Effect::Complete))?;
            if answer.invalidation.is_some_and(|found| found.status.eq_ignore_ascii_case("completed")) {
                return Ok(());
            }
            wait.pause(&format!("invalidation {id}"), "in progress").await?;
        }
    }
}

fn id_of(within: Within<'_>, found: Option<aws_sdk_cloudfront::types::Invalidation>) -> Result<String> {
    let id = found.map(|invalidation| invalidation.id);
    id.ok_or_else(|| Error::new(ErrorKind::Corrupt, within.1, "the answer names no invalidation"))
}

fn reused(within: Within<'_>, batch: &InvalidationBatch, cause: Error) -> Error {
    let message = format!("reference `{}` was used for other paths before", batch.caller_reference());
    Error::new(ErrorKind::Conflict, within.1, message)
        .advice("let the reference say everything that tells one wish from another")
        .with_source(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_reference_is_known_by_both_of_its_names() {
        let said = "Your request contains a caller reference that was used for a previous invalidation batch";
        assert_eq!(refusal(Some("InvalidArgument"), Some(said)), Refusal::Reused);
        assert_eq!(refusal(Some("InvalidationBatchAlreadyExists"), None), Refusal::Reused);
        assert_eq!(refusal(Some("InvalidArgument"), Some("a path is wrong")), Refusal::Other);
        assert_eq!(refusal(Some("TooManyInvalidationsInProgress"), None), Refusal::TooMany);
    }
}
