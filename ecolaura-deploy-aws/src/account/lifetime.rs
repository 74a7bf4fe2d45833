//! How long credentials last, beside what is planned with them.

use std::time::{Duration, SystemTime};

use aws_credential_types::{Credentials, credential_feature::AwsCredentialFeature, provider::ProvideCredentials};
use ecolaura_deploy_core::{Context, Error, ErrorKind, Result};
use jiff::Timestamp;

use super::{Account, role::Assumed};
use crate::error;

const OPERATION: &str = "account.covers";

/// How long credentials last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifetime {
    /// They do not end.
    Endless,
    /// They end, and this process gets others by itself before.
    Renewed,
    /// They end in this time, and somebody else must make others.
    Ends(Duration),
    /// They end, and do not tell when: those of a session that stand in variables.
    Untold,
}

pub(super) async fn covers(account: &Account, cx: &Context, planned: Duration) -> Result<Lifetime> {
    let Some(provider) = account.sdk_config().credentials_provider() else {
        return Err(Error::new(ErrorKind::Unauthenticated, OPERATION, "no credentials are configured"));
    };
    let given = cx.bounded(OPERATION, provider.provide_credentials()).await?;
    let credentials = given.map_err(|failure| error::no_credentials(cx, OPERATION, &failure))?;
    let lifetime = lifetime(&credentials, cx.clock().now());
    match lifetime {
        Lifetime::Ends(left) if left < planned => Err(too_short(left, planned)),
        Lifetime::Untold => {
            cx.warn(format!(
                "the credentials are of a session that does not tell its end; {} are planned",
                minutes(planned)
            ));
            Ok(lifetime)
        }
        _ => Ok(lifetime),
    }
}

/// Takes `role` on again if the credentials that it gave do not last for `planned`.
pub(super) async fn renewed(role: &Assumed, cx: &Context, planned: Duration) -> Result<Lifetime> {
    let now = cx.clock().now();
    let given = cx.bounded(OPERATION, role.lasting(planned, now)).await?;
    let credentials = given.map_err(|failure| error::no_credentials(cx, OPERATION, &failure))?;
    match credentials.expiry().map(|end| until(end, now)) {
        Some(left) if left < planned => Err(too_short(left, planned)),
        Some(left) => Ok(Lifetime::Ends(left)),
        None => Ok(Lifetime::Untold),
    }
}

/// How long `credentials` last from `now` on. Roles and their like are given anew by whoever gave them.
fn lifetime(credentials: &Credentials, now: Timestamp) -> Lifetime {
    let from = credentials.get_property::<Vec<AwsCredentialFeature>>();
    match credentials.expiry() {
        _ if from.into_iter().flatten().any(is_renewed) => Lifetime::Renewed,
        Some(end) => Lifetime::Ends(until(end, now)),
        None if credentials.session_token().is_some() => Lifetime::Untold,
        None => Lifetime::Endless,
    }
}

/// Whether the SDK gets others before they end, without anybody's help.
fn is_renewed(feature: &AwsCredentialFeature) -> bool {
    use AwsCredentialFeature as From;
    matches!(
        feature,
        From::CredentialsImds
            | From::CredentialsHttp
            | From::CredentialsStsAssumeRole
            | From::CredentialsStsAssumeRoleWebId
            | From::CredentialsEnvVarsStsWebIdToken
            | From::CredentialsProfileStsWebIdToken
    )
}

pub(super) fn until(end: SystemTime, now: Timestamp) -> Duration {
    let now = Duration::from_secs(now.as_second().try_into().unwrap_or_default());
    end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(now)
}

fn too_short(left: Duration, planned: Duration) -> Error {
    let message = format!("the credentials end in {}, and {} are planned", minutes(left), minutes(planned));
    Error::new(ErrorKind::Unauthenticated, OPERATION, message)
        .with("left", format!("{} s", left.as_secs()))
        .with("planned", format!("{} s", planned.as_secs()))
        .advice("nothing was begun; log in again, or ask for a longer session of the role")
}

/// For people.
pub(crate) fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
