//! The calls that read and change a repository.

use aws_sdk_ecr::{
    Client,
    operation::{
        create_repository::CreateRepositoryError, delete_lifecycle_policy::DeleteLifecyclePolicyError,
        describe_repositories::DescribeRepositoriesError, get_lifecycle_policy::GetLifecyclePolicyError,
    },
    types::{
        self, ImageScanningConfiguration, ImageTagMutability, ImageTagMutabilityExclusionFilter,
        ImageTagMutabilityExclusionFilterType, Tag,
    },
};
use ecolaura_deploy_core::{Context, Error, ErrorKind, Result, vocabulary::Repository};

use super::{Found, Labels, Move, Mutability, Wished};
use crate::{Account, ecr, error::Call};

/// The calls on one repository.
pub(super) struct Calls<'a> {
    account: &'a Account,
    cx: &'a Context,
    client: Client,
    name: &'a str,
    resource: String,
    address: String,
}

impl<'a> Calls<'a> {
    pub(super) async fn new(account: &'a Account, cx: &'a Context, name: &'a Repository) -> Result<Self> {
        let scope = account.scope(cx).await?;
        let (client, name) = (Client::new(account.sdk_config()), name.as_str());
        let address = format!("{}/{name}", ecr::registry_host(&scope));
        Ok(Self { account, cx, client, name, resource: ecr::resource(&scope, name), address })
    }

    /// `HOST/NAME`
    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    fn reads(&self, action: &'static str) -> Call<'_> {
        self.account.reads((self.cx, "ecr.repository"), action, &self.resource)
    }

    fn writes(&self, action: &'static str) -> Call<'_> {
        self.account.writes((self.cx, "ecr.repository"), action, &self.resource)
    }

    /// The repository, if it is there; as much of it as `wished` speaks of.
    pub(super) async fn find(&self, wished: &Wished) -> Result<Option<Found>> {
        let missing = DescribeRepositoriesError::is_repository_not_found_exception;
        let request = self.client.describe_repositories().repository_names(self.name).send();
        let answer = self.reads("ecr:DescribeRepositories").unless(missing, request).await?;
        let Some(answer) = answer else { return Ok(None) };
        let Some(repository) = answer.repositories().first() else { return Ok(None) };
        Ok(Some(Found {
            mutability: mutability(repository),
            scan_on_push: repository
                .image_scanning_configuration()
                .is_some_and(ImageScanningConfiguration::scan_on_push),
            lifecycle: if wished.lifecycle.is_some() { self.lifecycle().await? } else { None },
            labels: if wished.labels.is_empty() { Labels::new() } else { self.labels().await? },
        }))
    }

    async fn lifecycle(&self) -> Result<Option<serde_json::Value>> {
        let none = GetLifecyclePolicyError::is_lifecycle_policy_not_found_exception;
        let request = self.client.get_lifecycle_policy().repository_name(self.name).send();
        let answer = self.reads("ecr:GetLifecyclePolicy").unless(none, request).await?;
        let Some(answer) = answer else { return Ok(None) };
        let text = answer.lifecycle_policy_text().unwrap_or_default();
        let document = serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "ecr.repository", "the lifecycle policy is no JSON").with_source(error)
        })?;
        Ok(Some(document))
    }

    async fn labels(&self) -> Result<Labels> {
        let call = self.reads("ecr:ListTagsForResource");
        let answer = call.send(self.client.list_tags_for_resource().resource_arn(&self.resource).send()).await?;
        Ok(answer.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
    }

    /// Makes the repository; the lifecycle policy comes by a move of its own. `false` if it is there.
    pub(super) async fn create(&self, wished: &Wished) -> Result<bool> {
        let call = self.writes("ecr:CreateRepository");
        let mut request = self.client.create_repository().repository_name(self.name);
        if let Some(wished) = &wished.mutability {
            let (mode, filters) = sent(wished)?;
            request = request.image_tag_mutability(mode).set_image_tag_mutability_exclusion_filters(filters);
        }
        if let Some(scan) = wished.scan_on_push {
            request = request.image_scanning_configuration(scanning(scan));
        }
        for (key, value) in &wished.labels {
            request = request.tags(tag(key, value)?);
        }
        let there = CreateRepositoryError::is_repository_already_exists_exception;
        Ok(call.unless(there, request.send()).await?.is_some())
    }

    /// Changes one setting.
    pub(super) async fn make(&self, change: &Move) -> Result<()> {
        let (client, name) = (&self.client, self.name);
        match change {
            Move::Mutability(to) => {
                let (mode, filters) = sent(to)?;
                let request = client.put_image_tag_mutability().repository_name(name).image_tag_mutability(mode);
                let request = request.set_image_tag_mutability_exclusion_filters(filters);
                self.writes("ecr:PutImageTagMutability").send(request.send()).await.map(drop)
            }
            Move::ScanOnPush(to) => {
                let request = client.put_image_scanning_configuration().repository_name(name);
                let request = request.image_scanning_configuration(scanning(*to));
                self.writes("ecr:PutImageScanningConfiguration").send(request.send()).await.map(drop)
            }
            Move::Lifecycle(Some(to)) => {
                let request = client.put_lifecycle_policy().repository_name(name);
                let request = request.lifecycle_policy_text(to.to_string());
                self.writes("ecr:PutLifecyclePolicy").send(request.send()).await.map(drop)
            }
            Move::Lifecycle(None) => self.take_lifecycle_away().await,
            Move::Label(key, Some(value)) => {
                let request = client.tag_resource().resource_arn(&self.resource).tags(tag(key, value)?);
                self.writes("ecr:TagResource").send(request.send()).await.map(drop)
            }
            Move::Label(key, None) => {
                let request = client.untag_resource().resource_arn(&self.resource).tag_keys(key);
                self.writes("ecr:UntagResource").send(request.send()).await.map(drop)
            }
        }
    }

    async fn take_lifecycle_away(&self) -> Result<()> {
        let none = DeleteLifecyclePolicyError::is_lifecycle_policy_not_found_exception;
        let request = self.client.delete_lifecycle_policy().repository_name(self.name).send();
        self.writes("ecr:DeleteLifecyclePolicy").unless(none, request).await.map(drop)
    }
}

fn scanning(on_push: bool) -> ImageScanningConfiguration {
    ImageScanningConfiguration::builder().scan_on_push(on_push).build()
}

fn tag(key: &str, value: &str) -> Result<Tag> {
    Tag::builder().key(key).value(value).build().map_err(unbuilt)
}

/// The SDK's word for what a caller of it forgot.
fn unbuilt(error: impl Into<ecolaura_deploy_core::BoxError>) -> Error {
    Error::internal("ecr.repository", "a request could not be made").with_source(error)
}

fn mutability(repository: &types::Repository) -> Mutability {
    let filters = repository.image_tag_mutability_exclusion_filters().iter();
    let filters: Vec<_> = filters.map(|filter| filter.filter().to_owned()).collect();
    match repository.image_tag_mutability() {
        Some(ImageTagMutability::Immutable) => Mutability::Immutable,
        Some(ImageTagMutability::ImmutableWithExclusion) => Mutability::ImmutableExcept(filters),
        Some(ImageTagMutability::MutableWithExclusion) => Mutability::MutableExcept(filters),
        _ => Mutability::Mutable,
    }
}

/// As it is sent.
fn sent(wished: &Mutability) -> Result<(ImageTagMutability, Option<Vec<ImageTagMutabilityExclusionFilter>>)> {
    let filters = |patterns: &[String]| {
        let filter = |pattern: &String| {
            let filter = ImageTagMutabilityExclusionFilter::builder().filter(pattern);
            filter.filter_type(ImageTagMutabilityExclusionFilterType::Wildcard).build().map_err(unbuilt)
        };
        patterns.iter().map(filter).collect::<Result<Vec<_>>>().map(Some)
    };
    Ok(match wished {
        Mutability::Mutable => (ImageTagMutability::Mutable, None),
        Mutability::Immutable => (ImageTagMutability::Immutable, None),
        Mutability::MutableExcept(patterns) => (ImageTagMutability::MutableWithExclusion, filters(patterns)?),
        Mutability::ImmutableExcept(patterns) => (ImageTagMutability::ImmutableWithExclusion, filters(patterns)?),
    })
}
