//! What ECR's scans found: the basic ones of the registry and the enhanced ones of Inspector.

mod outcome;
mod reading;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use aws_sdk_ecr::{
    Client,
    operation::{
        describe_image_scan_findings::{DescribeImageScanFindingsError, DescribeImageScanFindingsOutput},
        start_image_scan::StartImageScanError,
    },
    types::ImageIdentifier,
};
use ecolaura_deploy_core::{
    Context, Effect, Error, Result,
    backend::{ImageScanner, ScanOutcome, ScanReport},
    vocabulary::{Name, PinnedImage},
};

use self::{
    outcome::{Judged, judge},
    reading::Reading,
};
use super::{registry_host, resource};
use crate::{
    Account, Scope,
    access::Grant,
    wait::{Pace, Wait},
};

const OPERATION: &str = "ecr.scan";

/// How long a scan may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Between two questions after a scan that goes on.
const PAUSE: Duration = Duration::from_secs(5);

/// Reads what ECR's scan of an image found, by its digest, and waits for a scan that goes on.
///
/// Only a finished scan counts. A list without findings must have been finished at a time that ECR tells, or be the same
/// twice: right after a scan it can be empty for a moment. Whatever ECR says otherwise, a word that nobody knows yet
/// among them, is an outcome that core's `ScanGate` refuses. Indexes of several platforms are not scanned by ECR and are
/// [`ScanOutcome::Unsupported`].
///
/// Evidence is reused for a day; see [`lasting_evidence`](EcrScanner::lasting_evidence).
pub struct EcrScanner {
    name: Name,
    account: Account,
    client: Client,
    patience: Duration,
    starts: bool,
    lasting: bool,
}

impl EcrScanner {
    /// The scans of the registry of `account`; `name` is for plans and records.
    pub fn new(name: Name, account: &Account) -> Self {
        let client = Client::new(account.sdk_config());
        Self { name, account: account.clone(), client, patience: PATIENCE, starts: false, lasting: false }
    }

    /// How long to wait for a scan that goes on: 5 minutes unless said otherwise. After it the outcome is
    /// [`ScanOutcome::Timeout`].
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Starts a basic scan where there is none. ECR lets that be done once a day for an image.
    pub fn starting(self) -> Self {
        Self { starts: true, ..self }
    }

    /// What passed a gate passes it again under the same policy, also after ECR has stopped scanning the image: going
    /// back to an old release stays possible, and what was found since is not looked at.
    pub fn lasting_evidence(self) -> Self {
        Self { lasting: true, ..self }
    }

    /// What scanning images of `repository` (without a host) takes.
    pub fn grant(&self, scope: &Scope, repository: &str) -> Grant {
        let starting = self.starts.then_some("ecr:StartImageScan");
        Grant::new(["ecr:DescribeImageScanFindings"].into_iter().chain(starting), [resource(scope, repository)])
    }

    async fn outcome(&self, asked: &Asked<'_>) -> Result<(ScanOutcome, usize)> {
        let pace = Pace { patience: self.patience, pause: PAUSE, longest: PAUSE };
        let advice = "scan it again when ECR answers, or give it more patience";
        let mut wait = Wait::new((asked.cx, OPERATION), pace, (Effect::None, advice));
        let what = format!("the scan of {}", asked.image);
        let mut started = false;
        let mut before = None;
        loop {
            let reading = wait.look(|| self.read(asked)).await?;
            let packages = reading.as_ref().map(Reading::packages).unwrap_or_default();
            match judge(reading.as_ref(), before.as_ref()) {
                Judged::Outcome(outcome) => return Ok((outcome, packages)),
                Judged::Missing if self.starts && !started => {
                    if let Some(outcome) = self.start(asked).await? {
                        return Ok((outcome, 0));
                    }
                    started = true;
                }
                Judged::Missing if !started => {
                    let reason =
                        "ECR has no scan of it: switch scan on push on, or let the scanner start one".to_owned();
                    return Ok((ScanOutcome::NotScanned { reason }, 0));
                }
                Judged::Missing | Judged::GoesOn => {}
            }
            if wait.is_over() {
                return Ok((ScanOutcome::Timeout, 0));
            }
            wait.pause(&what, "not finished").await?;
            before = reading;
        }
    }

    /// All pages. `None` if there is no scan.
    async fn read(&self, asked: &Asked<'_>) -> Result<Option<Reading>> {
        let mut reading: Option<Reading> = None;
        let mut next = None;
        loop {
            let Some(page) = self.page(asked, next.take()).await? else { return Ok(None) };
            next = page.next_token().map(str::to_owned);
            match &mut reading {
                Some(reading) => reading.add(&page),
                None => reading = Some(Reading::of(&page)),
            }
            if next.is_none() {
                return Ok(reading);
            }
        }
    }

    async fn page(&self, asked: &Asked<'_>, next: Option<String>) -> Result<Option<DescribeImageScanFindingsOutput>> {
        let call = self.account.reads((asked.cx, OPERATION), "ecr:DescribeImageScanFindings", &asked.resource);
        let request = self.client.describe_image_scan_findings().repository_name(asked.repository);
        let request = request.image_id(asked.id()).max_results(1000).set_next_token(next);
        call.unless(DescribeImageScanFindingsError::is_scan_not_found_exception, request.send()).await
    }

    /// Starts a scan; an outcome if none can be.
    async fn start(&self, asked: &Asked<'_>) -> Result<Option<ScanOutcome>> {
        let call = self.account.writes((asked.cx, OPERATION), "ecr:StartImageScan", &asked.resource);
        let request = self.client.start_image_scan().repository_name(asked.repository).image_id(asked.id());
        let Err(error) = call.attempt(request.send()).await? else { return Ok(None) };
        match error.as_service_error() {
            Some(StartImageScanError::UnsupportedImageTypeException(_)) => {
                Ok(Some(ScanOutcome::Unsupported { reason: "ECR does not scan images of this kind".to_owned() }))
            }
            Some(StartImageScanError::LimitExceededException(_)) => {
                let reason = "ECR scans an image once a day, and has nothing to show of today's scan".to_owned();
                Ok(Some(ScanOutcome::NotScanned { reason }))
            }
            _ => Err(call.failed(&error)),
        }
    }
}

/// The image that is asked about.
struct Asked<'a> {
    cx: &'a Context,
    image: &'a PinnedImage,
    /// Without a host.
    repository: &'a str,
    resource: String,
}

impl<'a> Asked<'a> {
    fn new(cx: &'a Context, image: &'a PinnedImage, scope: &Scope) -> Result<Self> {
        let host = registry_host(scope);
        let named = image.repository.as_str();
        let repository = named.strip_prefix(&host).and_then(|rest| rest.strip_prefix('/')).unwrap_or(named);
        let first = repository.split('/').next().unwrap_or_default();
        if repository.contains('/') && (first.contains(['.', ':']) || first == "localhost") {
            return Err(Error::invalid(OPERATION, format!("`{image}` is in another registry than `{host}`"))
                .advice("scan it there, or copy it here first"));
        }
        let resource = resource(scope, repository);
        Ok(Self { cx, image, repository, resource })
    }

    fn id(&self) -> ImageIdentifier {
        ImageIdentifier::builder().image_digest(self.image.digest.to_string()).build()
    }
}

#[async_trait]
impl ImageScanner for EcrScanner {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn database(&self, cx: &Context) -> Result<String> {
        let day = jiff::tz::TimeZone::UTC.to_datetime(cx.clock().now()).date();
        Ok(if self.lasting { "ecr".to_owned() } else { format!("ecr {day}") })
    }

    async fn scan(&self, cx: &Context, image: &PinnedImage) -> Result<ScanReport> {
        let scope = self.account.scope(cx).await?;
        let asked = Asked::new(cx, image, &scope)?;
        let (outcome, packages) = self.outcome(&asked).await?;
        Ok(ScanReport::new(image.clone(), outcome, packages, self.database(cx).await?))
    }
}

impl fmt::Debug for EcrScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcrScanner").field("name", &self.name).field("account", &self.account).finish_non_exhaustive()
    }
}
