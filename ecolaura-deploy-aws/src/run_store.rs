//! The run store on S3.

mod credentials;
#[cfg(feature = "s3")]
#[cfg(test)]
mod tests;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use bytes::Bytes;
use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    nonce::{NonceSource, RandomNonces},
    store::{Created, ObjectRunStore, RunStore, check_key, probe},
};
use object_store::{BackoffConfig, RetryConfig, aws::AmazonS3Builder, path::Path, prefix::PrefixStore};

use self::{credentials::Bridge, wire::Wire};
use crate::{Account, Scope, access::Grant, account, error::Call};

/// How long a call is tried again, from its first attempt on. Less than a holder of the lock may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often, at most.
const RETRIES: usize = 12;
/// Pauses between attempts: they grow at random from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The records of runs, and with them the epoch lock, in a bucket, below a prefix.
///
/// Every record is an object that S3 creates only if there is none (`If-None-Match`). Where an answer is lost, or comes
/// after the object was stored, what is there is read back: who won knows that he won, and nobody else believes it.
/// Calls are tried again for half a minute, here and nowhere else; each says itself at [`CALLS`](crate::CALLS). They go
/// the ways of the account: its credentials, renewed before they end, its endpoint, its proxy.
///
/// Objects are removed one by one and only when old runs are pruned. A bucket with versions keeps what was removed until
/// a rule of its own ends it.
///
/// ```no_run
/// # async fn example() -> ecolaura_deploy_core::Result<()> {
/// use std::sync::Arc;
///
/// use ecolaura_deploy_aws::{Connect, S3RunStore};
/// use ecolaura_deploy_core::{Context, run::Runner};
///
/// let cx = Context::new("staging".parse()?);
/// let account = Connect::new().region("eu-central-1").connect(&cx).await?;
/// let store = S3RunStore::open(&cx, &account, "shop-deploys", "runs").await?;
/// let runner = Runner::new(Arc::new(store));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct S3RunStore {
    inner: ObjectRunStore,
    place: Place,
    account: Account,
    /// What the errors of calls are cleaned by.
    cx: Context,
}

/// A bucket and a prefix.
#[derive(Debug, Clone)]
struct Place {
    partition: &'static str,
    bucket: String,
    prefix: String,
}

impl Place {
    fn arn(&self, key: &str) -> String {
        let Self { partition, bucket, prefix } = self;
        match prefix.as_str() {
            "" => format!("arn:{partition}:s3:::{bucket}/{key}"),
            prefix => format!("arn:{partition}:s3:::{bucket}/{prefix}/{key}"),
        }
    }

    fn bucket_arn(&self) -> String {
        format!("arn:{}:s3:::{}", self.partition, self.bucket)
    }
}

impl S3RunStore {
    /// The store in `bucket` below `prefix` (`""` for all of the bucket), after its [`check`](S3RunStore::check).
    ///
    /// Fails with [`ErrorKind::InvalidInput`] if the prefix is no key, and as the check does.
    pub async fn open(
        cx: &Context,
        account: &Account,
        bucket: impl Into<String>,
        prefix: impl Into<String>,
    ) -> Result<Self> {
        let connector = account::connector(account);
        let store = Self::over(cx, account, (bucket.into(), prefix.into()), connector, PAUSES)?;
        cx.bounded("store.check", store.check()).await??;
        Ok(store)
    }

    fn over(
        cx: &Context,
        account: &Account,
        (bucket, prefix): (String, String),
        connector: SharedHttpConnector,
        pauses: (Duration, Duration),
    ) -> Result<Self> {
        if !prefix.is_empty() {
            check_key("store.open", &prefix)?;
        }
        let place = Place { partition: account::partition(account.region()), bucket, prefix };
        let wire = Wire::new(connector, &place.bucket_arn(), account.path_style());
        let s3 = AmazonS3Builder::new()
            .with_bucket_name(&place.bucket)
            .with_region(account.region())
            .with_endpoint(endpoint(account, &place.bucket))
            .with_virtual_hosted_style_request(!account.path_style())
            .with_credentials(Arc::new(Bridge::new(cx, account)))
            .with_http_connector(wire)
            .with_retry(retries(account, pauses))
            // One `DELETE` needs no checksum, which some stores do not take, and no other action to be allowed.
            .with_disable_bulk_delete(true)
            .build()
            .map_err(|error| Error::invalid("store.open", format!("bucket `{}`", place.bucket)).with_source(error))?;
        let objects = PrefixStore::new(s3, Path::from(place.prefix.as_str()));
        let inner = ObjectRunStore::new(Arc::new(objects), format!("s3://{}/{}", place.bucket, place.prefix));
        Ok(Self { inner, place, account: account.clone(), cx: cx.clone() })
    }

    /// Whether the bucket can hold a lock: creates one key twice, which must be refused, removes it and creates it again,
    /// which must not. Leaves nothing; a cancel leaves at most that object, below `probe/`.
    ///
    /// Fails with [`ErrorKind::Unsupported`] if the store does not honour conditional creates, naming the bucket, with
    /// [`ErrorKind::NotFound`] if there is no such bucket, and with [`ErrorKind::PermissionDenied`] naming the action
    /// that is not allowed.
    pub async fn check(&self) -> Result<()> {
        let nonce = format!("{:016x}", RandomNonces.next());
        probe(self, &nonce).await.map_err(|error| match error.kind() {
            ErrorKind::Unsupported => self.unfit(error),
            _ => error,
        })?;
        let key = format!("probe/{nonce}/object");
        let again = self.create(&key, Bytes::from(format!("three of {nonce}"))).await;
        self.remove(&key).await?;
        match again {
            Ok(Created::Yes) => Ok(()),
            Err(error) if !contradicts_itself(&error) => Err(error),
            _ => {
                let message = "the run store takes what was removed for existing: it cannot hold a lock";
                Err(self.unfit(Error::new(ErrorKind::Unsupported, "store.check", message)))
            }
        }
    }

    fn unfit(&self, error: Error) -> Error {
        error.with("bucket", &self.place.bucket).with("endpoint", self.account.endpoint().unwrap_or("AWS")).with(
            "expected",
            "`PutObject` with `If-None-Match: *` is answered with 412 if and only if there is an object",
        )
    }

    /// What keeping runs in `bucket` below `prefix` takes.
    pub fn keeping(scope: &Scope, bucket: &str, prefix: &str) -> Vec<Grant> {
        let partition = account::partition(&scope.region);
        let place = Place { partition, bucket: bucket.to_owned(), prefix: prefix.to_owned() };
        let listing = Grant::new(["s3:ListBucket"], [place.bucket_arn()]);
        let listing = match prefix {
            "" => listing,
            prefix => listing.when("StringLike", "s3:prefix", format!("{prefix}/*")),
        };
        vec![Grant::new(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], [place.arn("*")]), listing]
    }

    /// The error of a call, as AWS's others are.
    fn failed(&self, error: Error, action: &'static str, resource: String) -> Error {
        if error.kind() == ErrorKind::InvalidInput || contradicts_itself(&error) {
            return error.with("bucket", &self.place.bucket);
        }
        let operation = match action {
            "s3:PutObject" => "store.create",
            "s3:GetObject" => "store.get",
            "s3:DeleteObject" => "store.remove",
            _ => "store.list",
        };
        let writes = matches!(action, "s3:PutObject" | "s3:DeleteObject");
        let call = Call { cx: &self.cx, operation, action, resource, writes, attempts: self.account.attempts() };
        let effect = if writes { error.effect() } else { Effect::None };
        call.told(&error).with_effect(effect).with("bucket", &self.place.bucket)
    }

    fn object(&self, error: Error, action: &'static str, key: &str) -> Error {
        self.failed(error, action, self.place.arn(key)).with("record", key)
    }

    fn listing(&self, error: Error, prefix: &str) -> Error {
        self.failed(error, "s3:ListBucket", self.place.bucket_arn()).with("prefix", prefix)
    }
}

impl fmt::Debug for S3RunStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { bucket, prefix, .. } = &self.place;
        f.debug_struct("S3RunStore").field("bucket", bucket).field("prefix", prefix).finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RunStore for S3RunStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        self.inner.create(key, body).await.map_err(|error| self.object(error, "s3:PutObject", key))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.inner.get(key).await.map_err(|error| self.object(error, "s3:GetObject", key))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.list(prefix).await.map_err(|error| self.listing(error, prefix))
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<String>> {
        self.inner.list_after(prefix, after).await.map_err(|error| self.listing(error, prefix))
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.names(prefix).await.map_err(|error| self.listing(error, prefix))
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.inner.remove(key).await.map_err(|error| self.object(error, "s3:DeleteObject", key))
    }
}

/// Whether S3 said that there is an object and that there is none, again and again: no answer failed.
fn contradicts_itself(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable && std::error::Error::source(error).is_none()
}

/// Where the bucket is.
fn endpoint(account: &Account, bucket: &str) -> String {
    let region = account.region();
    match account.endpoint().map(|endpoint| endpoint.trim_end_matches('/')) {
        Some(endpoint) if account.path_style() => endpoint.to_owned(),
        Some(endpoint) => match endpoint.split_once("://") {
            Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
            None => endpoint.to_owned(),
        },
        None if account.path_style() => format!("https://s3.{region}.{}", account::domain(region)),
        None => format!("https://{bucket}.s3.{region}.{}", account::domain(region)),
    }
}

/// None where the account's calls are made once. Neither S3's client nor the core has any of their own.
fn retries(account: &Account, (first, longest): (Duration, Duration)) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: first, max_backoff: longest, base: 2.0 },
        max_retries: if account.attempts() > 1 { RETRIES } else { 0 },
        retry_timeout: PATIENCE,
    }
}
