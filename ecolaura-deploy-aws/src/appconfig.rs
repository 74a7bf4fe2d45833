//! Feature flags in AWS `AppConfig`: a document of hosted versions, which deployments bring to whoever reads it.

mod calls;
mod document;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{FeatureFlags, FlagChange, FlagState},
    vocabulary::Name,
};

use self::{
    calls::{Calls, Deployment, Ended, Looked, header},
    document::Document,
};
use crate::{
    Account, Scope,
    access::Grant,
    key,
    wait::{Pace, Wait},
};

/// How long a deployment may take.
const PATIENCE: Duration = Duration::from_mins(30);

/// Between the first two looks at a deployment; it grows up to ten times as long.
const PAUSE: Duration = Duration::from_secs(2);

/// What versions and deployments of ours are described by.
const OURS: &str = "ecolaura-deploy";

/// Flags of a configuration profile, as an environment of an application has them.
///
/// The document is one of `AppConfig`'s own feature flags, or of flagd's form in a profile of free form. A flag of the
/// first is what its attribute `variant` says, whose values must be listed; without that attribute it is `on` where it is
/// enabled and `off` where not. One that has variants of `AppConfig`'s own, with rules, is `Unsupported`. What the document
/// says otherwise stays.
///
/// A change is a new version that is deployed, or the version before if that says the same. The state of a flag is that
/// of the last deployment that completed: a version that was made and not deployed says nothing. Deployments of ours that
/// go on are waited for; somebody else's are a conflict.
pub struct AppConfigFlags {
    name: Name,
    account: Account,
    place: Place,
    patience: Duration,
    baking: bool,
}

/// Where the flags are, by ids.
#[derive(Debug, Clone)]
struct Place {
    application: String,
    environment: String,
    profile: String,
    strategy: String,
}

impl AppConfigFlags {
    /// The flags of `profile` in `environment` of `application`, by their ids, deployed at once; `name` is for plans and
    /// records.
    pub fn new(
        name: Name,
        account: &Account,
        application: impl Into<String>,
        environment: impl Into<String>,
        profile: impl Into<String>,
    ) -> Self {
        let place = Place {
            application: application.into(),
            environment: environment.into(),
            profile: profile.into(),
            strategy: "AppConfig.AllAtOnce".to_owned(),
        };
        Self { name, account: account.clone(), place, patience: PATIENCE, baking: false }
    }

    /// Deploys by another strategy: its id, or one of `AppConfig`'s own.
    pub fn strategy(mut self, id: impl Into<String>) -> Self {
        self.place.strategy = id.into();
        self
    }

    /// How long a deployment may take: 30 minutes unless said otherwise.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Goes on as soon as everybody has the new version. `AppConfig` looks at its alarms for a while after that, and may
    /// still take the version back.
    pub fn accept_baking(self) -> Self {
        Self { baking: true, ..self }
    }

    /// What reading and switching takes.
    pub fn grants(&self, scope: &Scope) -> Vec<Grant> {
        let Place { application, environment, profile, strategy } = &self.place;
        let of = |rest: String| scope.arn("appconfig", format_args!("application/{application}{rest}"));
        let (environment, profile) =
            (format!("/environment/{environment}"), format!("/configurationprofile/{profile}"));
        let (around, versions) = (of(String::new()), of(format!("{profile}/hostedconfigurationversion/*")));
        let deployments = of(format!("{environment}/deployment/*"));
        let (environment, profile) = (of(environment), of(profile));
        let strategy = scope.arn("appconfig", format_args!("deploymentstrategy/{strategy}"));
        // IAM asks for everything that the thing is in, too.
        vec![
            Grant::new(["appconfig:ListDeployments"], [around.clone(), environment.clone()]),
            Grant::new(["appconfig:GetDeployment"], [around.clone(), environment.clone(), deployments]),
            Grant::new(
                ["appconfig:CreateHostedConfigurationVersion", "appconfig:ListHostedConfigurationVersions"],
                [around.clone(), profile.clone()],
            ),
            Grant::new(["appconfig:GetHostedConfigurationVersion"], [around.clone(), profile.clone(), versions]),
            Grant::new(["appconfig:StartDeployment"], [around, environment, profile, strategy]),
        ]
    }

    async fn calls<'a>(&'a self, within: (&'a Context, &'static str)) -> Result<Calls<'a>> {
        Calls::new(&self.account, within, &self.place).await
    }

    /// The document that the last deployment brought, and the one before, by their versions.
    async fn deployed(&self, calls: &Calls<'_>, deployments: &[Deployment]) -> Result<(Document, Vec<String>)> {
        let done: Vec<_> = deployments.iter().filter(|known| known.has_come()).collect();
        let versions: Vec<_> = done.iter().map(|known| known.version.clone()).collect();
        let Some(version) = versions.first() else {
            let message = format!("no version of profile {} was deployed yet", self.place.profile);
            return Err(Error::new(ErrorKind::NotFound, calls.operation(), message).advice("deploy one first"));
        };
        Ok((calls.document(version).await?, versions))
    }

    /// The deployments of the profile, newest first, none of which goes on: ours are waited for.
    async fn settled(&self, calls: &Calls<'_>) -> Result<Vec<Deployment>> {
        loop {
            let deployments = calls.deployments().await?;
            match deployments.iter().find(|known| known.goes_on(self.baking)) {
                None => return Ok(deployments),
                Some(other) if !calls.is_ours(other).await? => return Err(busy(calls.operation(), other)),
                Some(ours) => drop(self.ended(calls, ours.number).await?),
            }
        }
    }

    async fn ended(&self, calls: &Calls<'_>, number: i32) -> Result<Ended> {
        let pace = Pace { patience: self.patience, pause: PAUSE, longest: PAUSE * 10 };
        let advice = "AppConfig goes on with it; run again, or give it more patience";
        let wait = Wait::new((calls.cx(), calls.operation()), pace, (Effect::Unknown, advice));
        let mut wait = wait.reached(true);
        loop {
            match wait.look(|| calls.look(number, self.baking)).await? {
                Looked::Ended(ended) => return Ok(ended),
                Looked::GoesOn { state, percent } => {
                    calls.cx().progress("percent", percent, Some(100));
                    wait.pause(&format!("deployment {number}"), &state).await?;
                }
            }
        }
    }

    /// The version that says what `wanted` says: the one that was deployed before, one that an attempt before made, or a
    /// new one.
    async fn version(&self, calls: &Calls<'_>, wanted: &Document, before: &[String], what: &str) -> Result<String> {
        if let Some(version) = before.get(1)
            && calls.document(version).await?.says_the_same(wanted)
        {
            return Ok(version.clone());
        }
        let newest = calls.newest().await?;
        if let Some(version) = calls.made(newest.as_ref(), wanted, what).await? {
            return Ok(version);
        }
        calls.create(wanted, newest.map(|(version, _)| version), what).await
    }
}

/// The error of who could not look at a deployment, which goes on.
fn under_way(error: Error) -> Error {
    if error.effect() == Effect::None { error.with_effect(Effect::Unknown) } else { error }
}

fn busy(operation: &'static str, other: &Deployment) -> Error {
    let message = format!("deployment {} of version {} goes on", other.number, other.version);
    Error::new(ErrorKind::Conflict, operation, message)
        .with("state", &other.state)
        .advice("wait until it is complete, or stop it; then run again")
}

fn refused(flag: &FlagChange, ended: &Ended) -> Error {
    let message = format!("AppConfig took the deployment back: {}", ended.why);
    Error::new(ErrorKind::RolloutFailed, "flags.set", message)
        .with("flag", &flag.flag)
        .advice("see which alarm rang; everybody has the version before")
}

#[async_trait]
impl FeatureFlags for AppConfigFlags {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn get(&self, cx: &Context, flag: &str) -> Result<FlagState> {
        let calls = self.calls((cx, "flags.get")).await?;
        let deployments = calls.deployments().await?;
        self.deployed(&calls, &deployments).await?.0.state("flags.get", flag)
    }

    async fn set(&self, cx: &Context, change: &FlagChange) -> Result<()> {
        const OPERATION: &str = "flags.set";
        let calls = self.calls((cx, OPERATION)).await?;
        let deployments = self.settled(&calls).await?;
        let (mut document, before) = self.deployed(&calls, &deployments).await?;
        let now = document.state(OPERATION, &change.flag)?;
        if now == change.to {
            return Ok(());
        }
        if now != change.from {
            let message = format!("`{}` is {now}, not {}", change.flag, change.from);
            return Err(
                Error::new(ErrorKind::Conflict, OPERATION, message).advice("somebody else has switched it; plan again")
            );
        }
        document.set(OPERATION, &change.flag, &change.to)?;
        let key = key::of_effect(cx, &format!("{} {} {}", change.flag, change.from, change.to)).to_hex();
        let what = header(&format!("{OURS} {} {}: {}", &key[..16], change.flag, change.to));
        let version = self.version(&calls, &document, &before, &what).await?;
        let number = calls.start(&version, &what).await?;
        cx.status(format!("deployment {number} of version {version}"));
        match self.ended(&calls, number).await.map_err(under_way)? {
            ended if ended.complete => Ok(()),
            ended => Err(refused(change, &ended)),
        }
    }
}

impl fmt::Debug for AppConfigFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppConfigFlags").field("name", &self.name).field("place", &self.place).finish_non_exhaustive()
    }
}
