//! The entry that says which release is served.

use aws_sdk_cloudfrontkeyvaluestore::{Client, config::Builder};
use ecolaura_deploy_core::{Error, ErrorKind, Result, vocabulary::Digest};

use crate::{
    Account,
    access::Grant,
    account::renewing,
    publish::{
        Finding, Weight,
        bucket::{Within, written},
    },
};

const DESCRIBE: &str = "cloudfront-keyvaluestore:DescribeKeyValueStore";
const GET: &str = "cloudfront-keyvaluestore:GetKey";
const PUT: &str = "cloudfront-keyvaluestore:PutKey";

/// An entry of a store.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    account: Account,
    client: Client,
    store: String,
    key: String,
}

/// What an entry said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) release: Option<Digest>,
    /// Of the whole store: it moves when anybody changes any entry.
    tag: String,
}

impl Entry {
    pub(super) fn new(account: Account, store: String, key: String) -> Self {
        let client = Client::from_conf(renewing!(Builder::from(account.sdk_config())).build());
        Self { account, client, store, key }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn grant(&self) -> Grant {
        Grant::new([DESCRIBE, GET, PUT], [self.store.clone()])
    }

    /// The release that is served. What is read belongs to the store's tag or to a later one, which a write then finds.
    pub(super) async fn read(&self, within: Within<'_>) -> Result<Told> {
        let tag = self.tag(within).await?;
        let call = self.account.reads(within, GET, &self.store);
        let request = self.client.get_key().kvs_arn(&self.store).key(&self.key);
        let value = call
            .unless(
                aws_sdk_cloudfrontkeyvaluestore::operation::get_key::GetKeyError::is_resource_not_found_exception,
                request.send(),
            )
            .await?;
        let release = value.map(|answer| self.parse(within.1, &answer.value)).transpose()?;
        Ok(Told { release, tag })
    }

    async fn tag(&self, within: Within<'_>) -> Result<String> {
        let call = self.account.reads(within, DESCRIBE, &self.store);
        let request = self.client.describe_key_value_store().kvs_arn(&self.store);
        Ok(call.send(request.send()).await?.e_tag)
    }

    /// Says that `release` is served, if the store is as it was `told`; `false` if it changed meanwhile.
    pub(super) async fn write(&self, within: Within<'_>, told: &Told, release: Digest) -> Result<bool> {
        let call = self.account.writes(within, PUT, &self.store);
        let request = self.client.put_key().kvs_arn(&self.store).key(&self.key).value(release.to_hex());
        let answer = call.attempt(request.if_match(&told.tag).send()).await?;
        Ok(written(&call, answer)?.is_some())
    }

    fn parse(&self, operation: &'static str, value: &str) -> Result<Digest> {
        format!("sha256:{value}").parse().map_err(|error| {
            let message = format!("entry `{}` of `{}` is `{value}`, which names no release", self.key, self.store);
            Error::new(ErrorKind::Corrupt, operation, message)
                .with_source(error)
                .advice("give the site another name, or put the id of a kept release there, without `sha256:`")
        })
    }

    /// What is wrong with the store.
    pub(super) async fn judged(&self, within: Within<'_>) -> Result<Option<Finding>> {
        let (weight, found, remedy) = match self.tag(within).await {
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                (Weight::Refusal, "there is no such store", "create it, or mend its ARN")
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                (Weight::Refusal, "the store may not be read", "allow the actions of `publishing` on it")
            }
            Err(error) => return Err(error),
        };
        let (resource, action) = (self.store.clone(), DESCRIBE.to_owned());
        Ok(Some(Finding { weight, resource, action, found: found.to_owned(), remedy: remedy.to_owned() }))
    }
}
