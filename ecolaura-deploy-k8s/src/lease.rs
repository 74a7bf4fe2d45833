//! One deployer at a time in a namespace, for as long as a change takes, and none that was taken over.
//!
//! A `Lease` named `ecolaura-deploy` in the namespace is held while something is changed, and remembers the newest epoch
//! of each environment in an annotation: the epoch lock of the core crate tells deployers apart, and this tells the
//! cluster ([`ecolaura_deploy_core::fence`]). It is written with the version that was read, so of two who take it one
//! fails. A holder that died keeps it for its term, 15 seconds; nobody's clock is compared with another's, the term is
//! counted from when the other saw the Lease last change.

use std::time::Duration;

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    fence::Epochs,
    nonce::{NonceSource as _, RandomNonces},
};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use tokio::time::Instant;

use crate::{
    Connection,
    error::{self, Call},
    names::{MANAGER, PART},
    time,
};

const NAME: &str = "ecolaura-deploy";
const EPOCHS: &str = "deploy.ecolaura.io/epochs";
const TERM: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(100);
const RELEASE: Duration = Duration::from_secs(5);

/// The hold of a namespace. Given back by [`Hold::release`]; dropped, it ends with its term.
#[derive(Debug)]
pub(crate) struct Hold {
    connection: Connection,
    namespace: String,
    operation: &'static str,
    identity: String,
    lease: Lease,
    renewed: Instant,
}

/// What others are seen to hold, and since when it is unchanged.
#[derive(Debug)]
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Hold {
    /// Waits until nobody else holds the namespace, within the deadline of `cx`. Fails with `Fenced` where a newer
    /// epoch works there, `NotFound` without the namespace.
    pub(crate) async fn take(
        cx: &Context,
        connection: &Connection,
        namespace: &str,
        operation: &'static str,
    ) -> Result<Self> {
        let identity = format!("{}-{:016x}", cx.run_id(), RandomNonces.next());
        let mut seen: Option<Seen> = None;
        let mut told = None;
        loop {
            let found = read(cx, connection, namespace, operation).await?;
            let mut epochs = found.as_ref().map(epochs).transpose()?.unwrap_or_default();
            epochs.admit(operation, cx)?;
            if let Some(lease) = &found
                && let Some(holder) = holder(lease)
                && !is_over(lease, &mut seen)
            {
                if told.as_deref() != Some(holder) {
                    cx.status(format!("{namespace} is being changed by {holder}: waiting"));
                    told = Some(holder.to_owned());
                }
                cx.sleep(operation, PAUSE).await?;
                continue;
            }
            let wanted = lease(found, &epochs, Some(&identity), time::now(cx))?;
            match write(cx, connection, namespace, operation, wanted).await {
                Ok(lease) => {
                    let (connection, namespace) = (connection.clone(), namespace.to_owned());
                    return Ok(Self { connection, namespace, operation, identity, lease, renewed: Instant::now() });
                }
                // Another was faster. A namespace that is going takes no Lease ever.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists)
                        && !error::is_of_terminating(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether it still is held, so that the next change may be made; renewed where its term is running out. Fails with
    /// `Fenced` if another took it.
    pub(crate) async fn keep(&mut self, cx: &Context) -> Result<()> {
        if self.renewed.elapsed() < RENEW {
            return Ok(());
        }
        let found = read(cx, &self.connection, &self.namespace, self.operation).await?;
        let ours = found.filter(|lease| holder(lease) == Some(self.identity.as_str()));
        let Some(found) = ours else { return Err(self.lost()) };
        let epochs = epochs(&found)?;
        let wanted = lease(Some(found), &epochs, Some(&self.identity), time::now(cx))?;
        match write(cx, &self.connection, &self.namespace, self.operation, wanted).await {
            Ok(lease) => {
                (self.lease, self.renewed) = (lease, Instant::now());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Conflict => Err(self.lost()),
            Err(error) => Err(error),
        }
    }

    fn lost(&self) -> Error {
        let message = format!("another deployer took over in {}", self.namespace);
        Error::new(ErrorKind::Fenced, self.operation, message)
            .advice("stop: this one was away for too long, and changes nothing more")
    }

    /// Gives it back, also after a cancel or a deadline, so that nobody has to wait for its term. That it fails does no
    /// harm.
    pub(crate) async fn release(self, cx: &Context) {
        let cx = Context::new(cx.environment().clone()).with_deadline_in(RELEASE);
        let Ok(epochs) = epochs(&self.lease) else { return };
        let Ok(wanted) = lease(Some(self.lease), &epochs, None, time::now(&cx)) else { return };
        _ = write(&cx, &self.connection, &self.namespace, self.operation, wanted).await;
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|identity| !identity.is_empty())
}

/// Whether the term passed since it was seen to change.
fn is_over(lease: &Lease, seen: &mut Option<Seen>) -> bool {
    let version = lease.metadata.resource_version.clone();
    match seen {
        Some(seen) if seen.version == version => seen.since.elapsed() > TERM,
        _ => {
            *seen = Some(Seen { version, since: Instant::now() });
            false
        }
    }
}

fn epochs(lease: &Lease) -> Result<Epochs> {
    let kept = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(EPOCHS));
    let Some(kept) = kept else { return Ok(Epochs::default()) };
    serde_json::from_str(kept).map_err(|error| {
        let message = format!("the annotation `{EPOCHS}` of the Lease `{NAME}` is damaged");
        Error::new(ErrorKind::Corrupt, "cluster.fence", message)
            .with_source(error)
            .advice("if no deployer works there, delete the Lease")
    })
}

fn lease(found: Option<Lease>, epochs: &Epochs, holder: Option<&str>, now: Timestamp) -> Result<Lease> {
    let mut lease = found.unwrap_or_else(|| Lease {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            labels: Some([(PART.to_owned(), "lease".to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: None,
    });
    let kept = serde_json::to_string(epochs)
        .map_err(|error| Error::internal("cluster.fence", "the epochs could not be written").with_source(error))?;
    lease.metadata.annotations.get_or_insert_default().insert(EPOCHS.to_owned(), kept);
    lease.metadata.managed_fields = None;
    let now = Some(MicroTime(now));
    let before = lease.spec.take().unwrap_or_default();
    let changed = holder.is_some() && before.holder_identity.as_deref() != holder;
    lease.spec = Some(LeaseSpec {
        holder_identity: holder.map(str::to_owned),
        lease_duration_seconds: i32::try_from(TERM.as_secs()).ok(),
        acquire_time: if changed { now.clone() } else { before.acquire_time },
        renew_time: now,
        lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(changed)),
        ..LeaseSpec::default()
    });
    Ok(lease)
}

async fn read(
    cx: &Context,
    connection: &Connection,
    namespace: &str,
    operation: &'static str,
) -> Result<Option<Lease>> {
    let call = Call::reads(operation, format!("Lease {namespace}/{NAME}"));
    connection.find(cx, call, async |client| Api::<Lease>::namespaced(client, namespace).get(NAME).await).await
}

/// Creates it, or replaces the version that was read.
async fn write(
    cx: &Context,
    connection: &Connection,
    namespace: &str,
    operation: &'static str,
    lease: Lease,
) -> Result<Lease> {
    let call = Call::writes(operation, "write", format!("Lease {namespace}/{NAME}"));
    let params = PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) };
    let (params, lease) = (&params, &lease);
    let write = async |client| {
        let api = Api::<Lease>::namespaced(client, namespace);
        match lease.metadata.resource_version {
            Some(_) => api.replace(NAME, params, lease).await,
            None => api.create(params, lease).await,
        }
    };
    connection.call(cx, call, write).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing_namespace(namespace, operation),
        // Whether a write that had no answer took effect is seen when it is read again.
        _ => error.with_effect(ecolaura_deploy_core::Effect::None),
    })
}

pub(crate) fn missing_namespace(namespace: &str, operation: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, operation, format!("there is no namespace `{namespace}`"))
        .advice("create it, put it into the manifests, or let the cluster create namespaces")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_holder_is_over_when_its_term_passed_without_a_change() {
        let mut held = lease(None, &Epochs::default(), Some("somebody"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(holder(&held), Some("somebody"));
        let (mut seen, version) = (None, |version: &str| Some(version.to_owned()));
        held.metadata.resource_version = version("1");
        assert!(!is_over(&held, &mut seen), "it may just have been taken");
        tokio::time::advance(TERM * 2).await;
        held.metadata.resource_version = version("2");
        assert!(!is_over(&held, &mut seen), "it was renewed meanwhile");
        tokio::time::advance(TERM + Duration::from_secs(1)).await;
        assert!(is_over(&held, &mut seen));
    }

    #[test]
    fn epochs_outlive_holders() {
        let cx = Context::new("dev".parse().unwrap()).with_epoch(7);
        let mut kept = Epochs::default();
        kept.admit("t", &cx).unwrap();
        let held = lease(None, &kept, Some("one"), Timestamp::UNIX_EPOCH).unwrap();
        let free = lease(Some(held), &kept, None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((holder(&free), epochs(&free).unwrap()), (None, kept));
        let again = lease(Some(free), &Epochs::default(), Some("other"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(again.spec.unwrap().lease_transitions, Some(2));
    }
}
