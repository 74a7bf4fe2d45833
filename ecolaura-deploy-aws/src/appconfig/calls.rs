//! The calls on versions and deployments.

use aws_sdk_appconfig::{
    Client,
    operation::{
        create_hosted_configuration_version::CreateHostedConfigurationVersionError as CreateError,
        start_deployment::StartDeploymentError,
    },
    primitives::Blob,
    types::{DeploymentEvent, DeploymentEventType, DeploymentState as State},
};
use ecolaura_deploy_core::{Context, Effect, Error, ErrorKind, Result};

use super::{OURS, Place, document::Document};
use crate::{Account, Scope, called::implied, error::Call};

/// A deployment of the profile.
#[derive(Debug, Clone)]
pub(super) struct Deployment {
    pub(super) number: i32,
    pub(super) version: String,
    pub(super) state: String,
}

impl Deployment {
    /// Whether whoever reads the flags has its version, unless a newer one came.
    pub(super) fn has_come(&self) -> bool {
        [State::Complete, State::Baking].iter().any(|state| state.as_str() == self.state)
    }

    pub(super) fn goes_on(&self, accept_baking: bool) -> bool {
        let ended = [State::Complete, State::RolledBack, State::Reverted];
        let ended = ended.iter().any(|state| state.as_str() == self.state);
        let bakes = accept_baking && self.state == State::Baking.as_str();
        !(ended || bakes)
    }
}

/// How a deployment ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) complete: bool,
    pub(super) why: String,
}

/// What a look at a deployment shows.
#[derive(Debug)]
pub(super) enum Looked {
    Ended(Ended),
    GoesOn { state: String, percent: u64 },
}

/// The calls of one operation.
pub(super) struct Calls<'a> {
    account: &'a Account,
    cx: &'a Context,
    operation: &'static str,
    client: Client,
    scope: Scope,
    place: &'a Place,
}

impl<'a> Calls<'a> {
    pub(super) async fn new(
        account: &'a Account,
        (cx, operation): (&'a Context, &'static str),
        place: &'a Place,
    ) -> Result<Self> {
        cx.check(operation)?;
        let scope = account.scope(cx).await?;
        Ok(Self { account, cx, operation, client: Client::new(account.sdk_config()), scope, place })
    }

    pub(super) fn cx(&self) -> &Context {
        self.cx
    }

    pub(super) fn operation(&self) -> &'static str {
        self.operation
    }

    fn arn(&self, rest: &str) -> String {
        self.scope.arn("appconfig", format_args!("application/{}{rest}", self.place.application))
    }

    fn environment(&self) -> String {
        self.arn(&format!("/environment/{}", self.place.environment))
    }

    fn profile(&self) -> String {
        self.arn(&format!("/configurationprofile/{}", self.place.profile))
    }

    /// Says what is [`implied`] for each of `resources`.
    fn implies<const N: usize>(action: &'static str, resources: [String; N]) {
        resources.into_iter().for_each(|resource| implied(action, &resource));
    }

    fn reads(&self, action: &'static str, resource: String) -> Call<'_> {
        self.account.reads((self.cx, self.operation), action, resource)
    }

    fn writes(&self, action: &'static str, resource: String) -> Call<'_> {
        self.account.writes((self.cx, self.operation), action, resource)
    }

    /// The newest deployments of the profile, newest first, as `AppConfig` lists them.
    pub(super) async fn deployments(&self) -> Result<Vec<Deployment>> {
        let (mut found, mut next): (Vec<Deployment>, _) = (Vec::new(), None);
        loop {
            Self::implies("appconfig:ListDeployments", [self.arn("")]);
            let call = self.reads("appconfig:ListDeployments", self.environment());
            let request = self.client.list_deployments().application_id(&self.place.application);
            let request = request.environment_id(&self.place.environment).set_next_token(next);
            let page = call.send(request.send()).await?;
            let ours = page.items().iter().filter(|item| item.configuration_profile_id() == Some(&self.place.profile));
            found.extend(ours.map(|item| Deployment {
                number: item.deployment_number(),
                version: item.configuration_version().unwrap_or_default().to_owned(),
                state: item.state().map(State::as_str).unwrap_or_default().to_owned(),
            }));
            next = page.next_token;
            let enough = found.iter().filter(|known| known.has_come()).count() >= 2;
            if next.is_none() || enough {
                return Ok(found);
            }
        }
    }

    /// The document of a version.
    pub(super) async fn document(&self, version: &str) -> Result<Document> {
        let number: i32 = version.parse().map_err(|_| {
            let message = format!("version `{version}` is not hosted by AppConfig itself");
            Error::new(ErrorKind::Unsupported, self.operation, message).with("profile", &self.place.profile)
        })?;
        let arn = format!("{}/hostedconfigurationversion/{number}", self.profile());
        Self::implies("appconfig:GetHostedConfigurationVersion", [self.arn(""), self.profile()]);
        let call = self.reads("appconfig:GetHostedConfigurationVersion", arn);
        let request = self.client.get_hosted_configuration_version().application_id(&self.place.application);
        let request = request.configuration_profile_id(&self.place.profile).version_number(number);
        let answer = call.send(request.send()).await?;
        let content = answer.content.map(Blob::into_inner).unwrap_or_default();
        Document::read(self.operation, &content)
    }

    /// The number and the description of the newest version. Nobody promises an order.
    pub(super) async fn newest(&self) -> Result<Option<(String, String)>> {
        let (mut newest, mut next): (Option<(i32, String)>, _) = (None, None);
        loop {
            Self::implies("appconfig:ListHostedConfigurationVersions", [self.arn("")]);
            let call = self.reads("appconfig:ListHostedConfigurationVersions", self.profile());
            let request = self.client.list_hosted_configuration_versions().application_id(&self.place.application);
            let request = request.configuration_profile_id(&self.place.profile).set_next_token(next);
            let page = call.send(request.send()).await?;
            let known = page.items().iter();
            let known = known.map(|item| (item.version_number(), item.description().unwrap_or_default().to_owned()));
            newest = newest.into_iter().chain(known).max_by_key(|(number, _)| *number);
            next = page.next_token;
            if next.is_none() {
                return Ok(newest.map(|(number, what)| (number.to_string(), what)));
            }
        }
    }

    /// The newest version, if it was made for `what` and says what `wanted` says.
    pub(super) async fn made(
        &self,
        newest: Option<&(String, String)>,
        wanted: &Document,
        what: &str,
    ) -> Result<Option<String>> {
        let Some((version, _)) = newest.filter(|(_, description)| description == what) else { return Ok(None) };
        Ok(self.document(version).await?.says_the_same(wanted).then(|| version.clone()))
    }

    /// Makes a version behind `newest`. Versions are never changed. Fails with `Conflict` if somebody else made one
    /// meanwhile; one that an attempt made whose answer was lost is taken.
    pub(super) async fn create(&self, document: &Document, newest: Option<String>, what: &str) -> Result<String> {
        Self::implies("appconfig:CreateHostedConfigurationVersion", [self.arn("")]);
        let call = self.writes("appconfig:CreateHostedConfigurationVersion", self.profile());
        let request = self.client.create_hosted_configuration_version().application_id(&self.place.application);
        let request = request.configuration_profile_id(&self.place.profile).content_type("application/json");
        let request = request.content(Blob::new(document.bytes())).description(what);
        let newest = newest.and_then(|version| version.parse().ok());
        match call.attempt(request.set_latest_version_number(newest).send()).await? {
            Ok(answer) => Ok(answer.version_number().to_string()),
            Err(error) if error.as_service_error().is_some_and(CreateError::is_conflict_exception) => {
                let made = self.made(self.newest().await?.as_ref(), document, what).await?;
                made.ok_or_else(|| call.failed(&error))
            }
            Err(error) => Err(call.failed(&error)),
        }
    }

    /// Begins to deploy `version`. Fails with `Conflict` if another deployment of the environment goes on; one that an
    /// attempt began whose answer was lost is taken.
    pub(super) async fn start(&self, version: &str, what: &str) -> Result<i32> {
        let Place { application, environment, profile, strategy } = self.place;
        let strategy_arn = self.scope.arn("appconfig", format_args!("deploymentstrategy/{strategy}"));
        Self::implies("appconfig:StartDeployment", [self.arn(""), self.profile(), strategy_arn]);
        let call = self.writes("appconfig:StartDeployment", self.environment());
        let request = self.client.start_deployment().application_id(application).environment_id(environment);
        let request = request.configuration_profile_id(profile).configuration_version(version);
        let request = request.deployment_strategy_id(strategy).description(what);
        match call.attempt(request.send()).await? {
            Ok(answer) => Ok(answer.deployment_number()),
            Err(error) if error.as_service_error().is_some_and(StartDeploymentError::is_conflict_exception) => {
                let begun = self.begun(what).await.map_err(|error| error.with_effect(Effect::Unknown))?;
                begun.ok_or_else(|| {
                    call.failed(&error).advice(
                        "another deployment goes on in the environment; wait until it is complete, then run again",
                    )
                })
            }
            Err(error) => Err(call.failed(&error)),
        }
    }

    /// The deployment that goes on for `what`.
    async fn begun(&self, what: &str) -> Result<Option<i32>> {
        for known in self.deployments().await?.iter().filter(|known| known.goes_on(false)) {
            if self.get(known.number).await?.description() == Some(what) {
                return Ok(Some(known.number));
            }
        }
        Ok(None)
    }

    async fn get(&self, number: i32) -> Result<aws_sdk_appconfig::operation::get_deployment::GetDeploymentOutput> {
        let arn = format!("{}/deployment/{number}", self.environment());
        Self::implies("appconfig:GetDeployment", [self.arn(""), self.environment()]);
        let call = self.reads("appconfig:GetDeployment", arn);
        let request = self.client.get_deployment().application_id(&self.place.application);
        call.send(request.environment_id(&self.place.environment).deployment_number(number).send()).await
    }

    pub(super) async fn is_ours(&self, deployment: &Deployment) -> Result<bool> {
        Ok(self.get(deployment.number).await?.description().is_some_and(|what| what.starts_with(OURS)))
    }

    /// How a deployment ended, or how far it is.
    pub(super) async fn look(&self, number: i32, accept_baking: bool) -> Result<Looked> {
        let seen = self.get(number).await?;
        let state = seen.state().map(State::as_str).unwrap_or_default().to_owned();
        let deployment = Deployment { number, version: String::new(), state };
        let percent =
            (0..=100_u8).rev().find(|percent| f32::from(*percent) <= seen.percentage_complete().unwrap_or(0.0));
        if deployment.goes_on(accept_baking) {
            return Ok(Looked::GoesOn { state: deployment.state, percent: percent.map_or(0, u64::from) });
        }
        Ok(Looked::Ended(Ended { complete: deployment.has_come(), why: why(seen.event_log()) }))
    }
}

/// Why a deployment was taken back, by its events, newest first: where that began, not where it was done.
fn why(events: &[DeploymentEvent]) -> String {
    let began = |event: &&DeploymentEvent| event.event_type() == Some(&DeploymentEventType::RollbackStarted);
    let event = events.iter().find(began).or(events.first());
    event.and_then(DeploymentEvent::description).unwrap_or("no reason given").to_owned()
}

/// A description travels in a header, which takes no other letters.
pub(super) fn header(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' }).collect()
}
