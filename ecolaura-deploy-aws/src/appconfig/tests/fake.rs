//! A small `AppConfig`: versions that are never changed, and one deployment at a time, which takes a few looks.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::fake::{Answer, Asked, FakeAws, unknown};

/// The form of the document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    AppConfig,
    Flagd,
}

#[derive(Debug, Clone)]
struct Deployment {
    profile: String,
    version: String,
    what: String,
    /// How many looks it takes until it has ended.
    looks: u32,
    taken_back: Option<String>,
}

impl Deployment {
    fn state(&self) -> &'static str {
        match (self.looks, &self.taken_back) {
            (0, None) => "COMPLETE",
            (0, Some(_)) => "ROLLED_BACK",
            (1, None) => "BAKING",
            _ => "DEPLOYING",
        }
    }

    /// What happened, newest first.
    fn events(&self) -> Value {
        let event = |kind: &str, what: &str| json!({"EventType": kind, "Description": what});
        let begun = event("DEPLOYMENT_STARTED", "Deployment started");
        match (self.looks, &self.taken_back) {
            (0, Some(why)) => {
                json!([event("ROLLBACK_COMPLETED", "Rollback completed"), event("ROLLBACK_STARTED", why), begun])
            }
            _ => json!([begun]),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    versions: Vec<(Value, String)>,
    deployments: Vec<Deployment>,
    take_back: Option<String>,
    slow: bool,
    /// What is done the next time it is asked for, and not answered.
    lost: Option<&'static str>,
    /// What the last deployment was begun with.
    strategy: String,
    /// Whether nobody may look at a deployment.
    hidden: bool,
    /// How many looks at a deployment are throttled.
    busy: u32,
    /// How many looks at a deployment were answered.
    looked: u32,
    /// How many items an answer has at the most; 0 is all of them.
    page: usize,
}

#[derive(Debug, Clone)]
pub(super) struct FakeAppConfig(Arc<Mutex<State>>);

impl FakeAppConfig {
    /// With version 1 deployed: the enabled flag `new-checkout`, which serves `off`.
    pub(super) fn new(kind: Kind) -> Self {
        let document = match kind {
            Kind::AppConfig => json!({
                "version": "1",
                "flags": {"new-checkout": {"name": "new-checkout", "attributes": {
                    "variant": {"constraints": {"type": "string", "enum": ["on", "off"]}},
                }}},
                "values": {"new-checkout": {"enabled": true, "variant": "off"}},
            }),
            Kind::Flagd => json!({"flags": {"new-checkout": {
                "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off",
            }}}),
        };
        let state = State { versions: vec![(document, "the first".to_owned())], ..State::default() };
        let fake = Self(Arc::new(Mutex::new(state)));
        fake.has_deployed("1");
        fake
    }

    /// Somebody deploys version 1 of `profile`.
    pub(super) fn deploys(&self, profile: &str, what: &str) {
        self.0.lock().unwrap().deployments.push(Deployment {
            profile: profile.to_owned(),
            version: "1".to_owned(),
            what: what.to_owned(),
            looks: 3,
            taken_back: None,
        });
    }

    /// Somebody has deployed `version`.
    pub(super) fn has_deployed(&self, version: &str) {
        self.deploys("flags", "their own");
        let mut state = self.0.lock().unwrap();
        let last = state.deployments.last_mut().unwrap();
        (last.version, last.looks) = (version.to_owned(), 0);
    }

    /// Somebody makes a version and does not deploy it.
    pub(super) fn make_version(&self, flag: &str, variant: &str) {
        let mut state = self.0.lock().unwrap();
        let mut document = state.versions[0].0.clone();
        document["values"][flag]["variant"] = json!(variant);
        state.versions.push((document, "a draft".to_owned()));
    }

    /// Takes back what is deployed from now on, if there is a reason.
    pub(super) fn take_back(&self, why: Option<&str>) {
        self.0.lock().unwrap().take_back = why.map(str::to_owned);
    }

    pub(super) fn slow_down(&self) {
        self.0.lock().unwrap().slow = true;
    }

    /// Does what is posted to `.../WHAT` next, and does not answer.
    pub(super) fn lose(&self, what: &'static str) {
        self.0.lock().unwrap().lost = Some(what);
    }

    /// Lets nobody look at a deployment.
    pub(super) fn hide(&self) {
        self.0.lock().unwrap().hidden = true;
    }

    /// Wants the next `looks` at a deployment to come later.
    pub(super) fn throttle(&self, looks: u32) {
        self.0.lock().unwrap().busy = looks;
    }

    /// Answers with one item at a time.
    pub(super) fn in_pages(&self) {
        self.0.lock().unwrap().page = 1;
    }

    /// The strategy and the state of the last deployment.
    pub(super) fn last(&self) -> (String, &'static str) {
        let state = self.0.lock().unwrap();
        (state.strategy.clone(), state.deployments.last().map_or("", Deployment::state))
    }

    /// How many looks at a deployment were answered.
    pub(super) fn looked(&self) -> u32 {
        self.0.lock().unwrap().looked
    }

    /// What a version says that a flag serves.
    pub(super) fn serves(&self, version: usize, flag: &str) -> Value {
        self.0.lock().unwrap().versions[version - 1].0["values"][flag]["variant"].clone()
    }

    /// How many versions there are.
    pub(super) fn versions(&self) -> usize {
        self.0.lock().unwrap().versions.len()
    }

    /// The versions that were deployed, in order.
    pub(super) fn deployed(&self) -> Vec<String> {
        self.0.lock().unwrap().deployments.iter().map(|known| known.version.clone()).collect()
    }

    pub(super) fn serve(&self) -> FakeAws {
        let fake = self.clone();
        FakeAws::new(move |asked: &Asked| {
            if asked.operation == "GetCallerIdentity" {
                return unknown();
            }
            let (method, path) = asked.operation.split_once(' ').unwrap();
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let start = query.split('&').find_map(|part| part.strip_prefix("next_token="));
            let start = start.map_or(0, |start| start.parse().unwrap());
            let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
            let mut state = fake.0.lock().unwrap();
            let answer = match (method, &parts[2..]) {
                ("GET", ["environments", "prod", "deployments"]) => state.list(start),
                ("GET", ["environments", "prod", "deployments", _]) if state.hidden => {
                    Answer::refusal(403, "AccessDeniedException", "not yours")
                }
                ("GET", ["environments", "prod", "deployments", _]) if state.busy > 0 => {
                    state.busy -= 1;
                    Answer::refusal(429, "TooManyRequestsException", "slow down")
                }
                ("GET", ["environments", "prod", "deployments", number]) => state.look(number.parse().unwrap()),
                ("POST", ["environments", "prod", "deployments"]) => state.start(&asked.body),
                ("GET", ["configurationprofiles", "flags", "hostedconfigurationversions"]) => state.versions(start),
                ("GET", ["configurationprofiles", "flags", _, number]) => state.version(number.parse().unwrap()),
                ("POST", ["configurationprofiles", "flags", _]) => state.create(asked),
                _ => unknown(),
            };
            if method == "POST" && state.lost.is_some_and(|lost| path.ends_with(lost)) {
                state.lost = None;
                return Answer::Lost;
            }
            answer
        })
    }
}

impl State {
    fn list(&self, start: usize) -> Answer {
        let numbered = self.deployments.iter().zip(1..);
        let mut items: Vec<_> = numbered
            .map(|(known, number): (_, i32)| {
                json!({"DeploymentNumber": number, "ConfigurationProfileId": known.profile,
                       "ConfigurationVersion": known.version, "State": known.state()})
            })
            .collect();
        items.reverse();
        self.paged(&items, start)
    }

    fn paged(&self, items: &[Value], start: usize) -> Answer {
        let number = if self.page == 0 { items.len() } else { self.page };
        let mut answer = json!({"Items": items.iter().skip(start).take(number).collect::<Vec<_>>()});
        if start + number < items.len() {
            answer["NextToken"] = json!((start + number).to_string());
        }
        Answer::json(&answer)
    }

    fn look(&mut self, number: usize) -> Answer {
        self.looked += 1;
        let known = &mut self.deployments[number - 1];
        let answer = json!({"DeploymentNumber": number, "State": known.state(), "Description": known.what,
            "PercentageComplete": 50.0, "ConfigurationVersion": known.version, "EventLog": known.events()});
        if !self.slow {
            known.looks = known.looks.saturating_sub(1);
        }
        Answer::json(&answer)
    }

    fn start(&mut self, body: &Value) -> Answer {
        if self.deployments.iter().any(|known| known.looks > 0) {
            return Answer::refusal(409, "ConflictException", "Deployment in progress in the environment");
        }
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let (profile, version, what) =
            (text("ConfigurationProfileId"), text("ConfigurationVersion"), text("Description"));
        self.strategy = text("DeploymentStrategyId");
        self.deployments.push(Deployment { profile, version, what, looks: 3, taken_back: self.take_back.clone() });
        Answer::json(&json!({"DeploymentNumber": self.deployments.len(), "State": "DEPLOYING"}))
    }

    /// Oldest first: nobody promises an order.
    fn versions(&self, start: usize) -> Answer {
        let numbered = self.versions.iter().zip(1..);
        let items: Vec<_> = numbered
            .map(|((_, what), number): (_, i32)| json!({"VersionNumber": number, "Description": what}))
            .collect();
        self.paged(&items, start)
    }

    fn version(&self, number: usize) -> Answer {
        let Some((document, _)) = self.versions.get(number - 1) else {
            return Answer::refusal(404, "ResourceNotFoundException", "no such version");
        };
        hosted(number, document)
    }

    fn create(&mut self, asked: &Asked) -> Answer {
        let newest = asked.headers.get("latest-version-number").map(|number| number.parse::<usize>().unwrap());
        if newest.is_some_and(|newest| newest != self.versions.len()) {
            return Answer::refusal(409, "ConflictException", "a newer version is there");
        }
        let what = asked.headers.get("description").cloned().unwrap_or_default();
        self.versions.push((asked.body.clone(), what));
        hosted(self.versions.len(), &asked.body)
    }
}

fn hosted(number: usize, document: &Value) -> Answer {
    let headers = vec![("version-number", number.to_string()), ("content-type", "application/json".to_owned())];
    Answer::Full { status: 200, headers, body: document.to_string().into_bytes() }
}
