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
    Context, Effect, Error, ErrorKind, Result,
    backend::{ImageScanner, ScanOutcome, ScanReport},
    vocabulary::{Name, PinnedImage},
};
use tokio::time::Instant;

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

/// How long after a push ECR may have no scan: an enhanced one begins some time later.
const GRACE: Duration = Duration::from_mins(2);

/// What ECR calls an index of several platforms.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// Between two questions after a scan that goes on.
const PAUSE: Duration = Duration::from_secs(5);

/// Reads what ECR's scan of an image found, by its digest, and waits for a scan that goes on.
///
/// Only a finished scan counts. A list without findings must have been finished at a time that ECR tells, or be the same
/// twice: right after a scan it can be empty for a moment. Whatever ECR says otherwise, a word that nobody knows yet
/// among them, is an outcome that core's `ScanGate` refuses. Right after a push ECR may have no scan yet, so that one is
/// waited for, 2 minutes at most; only then the image is [`ScanOutcome::NotScanned`]. Indexes of several platforms are
/// not scanned by ECR and are [`ScanOutcome::Unsupported`].
///
/// A basic scan tells nothing of fixes, so that
/// [`Unfixed::Tolerate`](ecolaura_deploy_core::analysis::scan::Unfixed::Tolerate) lets none of its findings pass.
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

    /// Starts a basic scan where there is none. ECR lets that be done once a day for an image, one on its push counted,
    /// and not where scans are enhanced: if it refuses, one that begins by itself is waited for all the same.
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
        let reading = ["ecr:DescribeImageScanFindings", "ecr:DescribeImages"];
        Grant::new(reading.into_iter().chain(starting), [resource(scope, repository)])
    }

    async fn outcome(&self, asked: &Asked<'_>) -> Result<(ScanOutcome, usize)> {
        let pace = Pace { patience: self.patience, pause: PAUSE, longest: PAUSE };
        let advice = "scan it again when ECR answers, or give it more patience";
        let mut wait = Wait::new((asked.cx, OPERATION), pace, (Effect::None, advice));
        let what = format!("the scan of {}", asked.image);
        let mut absence = Absence::new(self.patience);
        let mut before = None;
        loop {
            let reading = wait.look(|| self.read(asked)).await?;
            let packages = reading.as_ref().map(Reading::packages).unwrap_or_default();
            match judge(reading.as_ref(), before.as_ref()) {
                Judged::Outcome(outcome) => return Ok((outcome, packages)),
                Judged::Missing => {
                    if let Some(outcome) = self.missing(asked, &mut wait, &mut absence).await? {
                        return Ok((outcome, 0));
                    }
                }
                Judged::GoesOn => {}
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

    /// The outcome, if it is known that no scan will come.
    async fn missing(
        &self,
        asked: &Asked<'_>,
        wait: &mut Wait<'_>,
        absence: &mut Absence,
    ) -> Result<Option<ScanOutcome>> {
        if !std::mem::replace(&mut absence.noticed, true) {
            if wait.look(|| self.is_index(asked)).await? {
                let reason = "ECR does not scan an index of several platforms, only the images in it".to_owned();
                return Ok(Some(ScanOutcome::Unsupported { reason }));
            }
            if self.starts {
                match self.start(asked).await? {
                    Start::Begun => absence.until = None,
                    Start::Refused(said) => absence.refused = Some(said),
                    Start::Unsupported => {
                        let reason = "ECR does not scan images of this kind".to_owned();
                        return Ok(Some(ScanOutcome::Unsupported { reason }));
                    }
                }
            }
        }
        Ok(absence.outcome())
    }

    /// Whether ECR says that the image is an index. Roles from before this was asked may not ask, and then learn less.
    async fn is_index(&self, asked: &Asked<'_>) -> Result<bool> {
        let call = self.account.reads((asked.cx, OPERATION), "ecr:DescribeImages", &asked.resource);
        let request = self.client.describe_images().repository_name(asked.repository).image_ids(asked.id());
        match call.send(request.send()).await {
            Ok(found) => {
                let mut kinds = found.image_details().iter().filter_map(|image| image.image_manifest_media_type());
                Ok(kinds.any(|kind| INDEXES.contains(&kind)))
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Starts a scan.
    async fn start(&self, asked: &Asked<'_>) -> Result<Start> {
        let call = self.account.writes((asked.cx, OPERATION), "ecr:StartImageScan", &asked.resource);
        let request = self.client.start_image_scan().repository_name(asked.repository).image_id(asked.id());
        let Err(error) = call.attempt(request.send()).await? else { return Ok(Start::Begun) };
        match error.as_service_error() {
            Some(StartImageScanError::UnsupportedImageTypeException(_)) => Ok(Start::Unsupported),
            // Today's scan was on the push, or scans begin by themselves here: either may only not be told of yet.
            Some(StartImageScanError::LimitExceededException(_) | StartImageScanError::ValidationException(_)) => {
                Ok(Start::Refused(call.failed(&error).message().to_owned()))
            }
            _ => Err(call.failed(&error)),
        }
    }
}

/// What came of starting a scan.
enum Start {
    Begun,
    /// With what ECR says.
    Refused(String),
    Unsupported,
}

/// That ECR has no scan of an image, so far.
struct Absence {
    grace: Duration,
    /// Until when one may begin by itself; nothing if one was started.
    until: Option<Instant>,
    noticed: bool,
    /// Why none was started.
    refused: Option<String>,
}

impl Absence {
    fn new(patience: Duration) -> Self {
        let grace = GRACE.min(patience);
        Self { grace, until: Some(Instant::now() + grace), noticed: false, refused: None }
    }

    /// What it means, if there is no time left for another look.
    fn outcome(&self) -> Option<ScanOutcome> {
        self.until.filter(|until| Instant::now() + PAUSE > *until)?;
        let waited = format!("ECR has no scan of it, also after {} s", self.grace.as_secs());
        let reason = match &self.refused {
            Some(said) => format!("{waited}, and started none: {said}"),
            None => format!("{waited}: switch scan on push on, or let the scanner start one"),
        };
        Some(ScanOutcome::NotScanned { reason })
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
