//! Logging in: the registry's challenge, and the tokens that its token server gives.

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_auth::parse_challenges;
use reqwest::{
    Method, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    Credential, Login,
    call::{Ask, Call, DOCUMENT},
    refusal::Refusal,
};
use crate::{Error, ErrorKind, Result, Secret};

/// How long a token is good whose server does not say (the token specification's own default).
const UNSAID: Duration = Duration::from_mins(1);
/// A token that ends within this time is not used any more.
const MARGIN: Duration = Duration::from_secs(5);
const CLIENT: &str = "ecolaura-deploy";

/// What is to be done, for which a token is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Access {
    pub(super) repository: String,
    pub(super) actions: &'static str,
    /// The repository out of which a blob is mounted.
    pub(super) source: Option<String>,
}

impl Access {
    fn scopes(&self) -> Vec<String> {
        let own = format!("repository:{}:{}", self.repository, self.actions);
        std::iter::once(own).chain(self.source.iter().map(|source| format!("repository:{source}:pull"))).collect()
    }
}

#[derive(Debug)]
pub(super) struct Auth {
    source: Login,
    /// Held while a token is fetched, so that many requests that need one fetch one.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    credential: Option<Credential>,
    scheme: Option<Scheme>,
    tokens: HashMap<Access, Token>,
}

/// How the registry wants to be logged in to.
#[derive(Debug, Clone)]
enum Scheme {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

#[derive(Debug)]
struct Token {
    value: Secret<String>,
    until: Instant,
}

/// What the registry said with its 401.
#[derive(Debug)]
struct Challenge {
    scheme: Scheme,
    scope: Option<String>,
}

impl Credential {
    /// The value of `Authorization` that carries it as it is.
    fn header(&self) -> Option<Secret<String>> {
        match self {
            Self::Basic { username, password } => {
                Some(Secret::new(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose())))))
            }
            Self::Bearer(token) => Some(Secret::new(format!("Bearer {}", token.expose()))),
            Self::Anonymous | Self::Identity(_) => None,
        }
    }
}

impl Auth {
    pub(super) fn new(source: Login) -> Self {
        Self { source, state: Mutex::default() }
    }

    /// Tells the redactor of `call` what other calls have found out.
    pub(super) async fn tell(&self, call: &Call<'_>) {
        let state = self.state.lock().await;
        let tokens = state.tokens.values().map(|token| &token.value);
        for secret in tokens.chain(state.credential.as_ref().and_then(Credential::secret)) {
            call.cx.redactor().register(secret);
        }
    }

    /// The header for a request, as far as is known what the registry wants.
    pub(super) async fn header(&self, call: &Call<'_>) -> Result<Option<HeaderValue>> {
        let mut state = self.state.lock().await;
        match state.scheme.clone() {
            None => Ok(None),
            Some(Scheme::Basic) => self.login(call, &mut state, false).await?.header().map(value).transpose(),
            Some(Scheme::Bearer { realm, service }) => {
                let known = state.tokens.get(&call.access).filter(|token| token.until > Instant::now());
                let token = match known {
                    Some(token) => token.value.clone(),
                    None => self.fetch(call, &mut state, (&realm, service.as_deref()), None).await?,
                };
                bearer(&token).map(Some)
            }
        }
    }

    /// Gets what the registry wants after it refused `used` with `headers`. `false` if there is nothing else to send.
    pub(super) async fn renew(&self, call: &Call<'_>, used: Option<&HeaderValue>, headers: &HeaderMap) -> Result<bool> {
        let mut state = self.state.lock().await;
        let Some(challenge) = challenge(call, headers)? else { return Ok(false) };
        state.scheme = Some(challenge.scheme.clone());
        let (realm, service) = match &challenge.scheme {
            Scheme::Basic => return self.renew_login(call, &mut state, used).await,
            Scheme::Bearer { realm, service } => (realm, service.as_deref()),
        };
        if let Some(token) = state.tokens.remove(&call.access) {
            let another = bearer(&token.value).is_ok_and(|held| Some(&held) != used);
            if another {
                // Somebody else was here while this one waited.
                state.tokens.insert(call.access.clone(), token);
                return Ok(true);
            }
        }
        self.fetch(call, &mut state, (realm, service), challenge.scope.as_deref()).await?;
        Ok(true)
    }

    async fn renew_login(&self, call: &Call<'_>, state: &mut State, used: Option<&HeaderValue>) -> Result<bool> {
        for again in [false, true] {
            let header = self.login(call, state, again).await?.header().map(value).transpose()?;
            if header.is_some() && header.as_ref() != used {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What to log in with; `again` asks the source anew.
    async fn login(&self, call: &Call<'_>, state: &mut State, again: bool) -> Result<Credential> {
        if let Some(credential) = state.credential.clone().filter(|_| !again) {
            return Ok(credential);
        }
        let credential = self.source.credential(call.cx, call.registry.place.login()).await?;
        if let Some(secret) = credential.secret() {
            call.cx.redactor().register(secret);
        }
        state.credential = Some(credential.clone());
        Ok(credential)
    }

    /// Gets a token for what `call` is about, with a login that is asked for anew if the present one is refused.
    async fn fetch(
        &self,
        call: &Call<'_>,
        state: &mut State,
        (realm, service): (&Url, Option<&str>),
        wanted: Option<&str>,
    ) -> Result<Secret<String>> {
        let mut scopes = call.access.scopes();
        scopes.extend(wanted.map(str::to_owned).filter(|wanted| !scopes.contains(wanted)));
        let known = state.credential.is_some();
        let mut credential = self.login(call, state, false).await?;
        let mut answer = ask_token(call, &credential, realm, (service, &scopes)).await;
        if known && answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unauthenticated) {
            credential = self.login(call, state, true).await?;
            answer = ask_token(call, &credential, realm, (service, &scopes)).await;
        }
        let token = answer?;
        call.cx.redactor().register(&token.value);
        let value = token.value.clone();
        state.tokens.retain(|_, token| token.until > Instant::now());
        state.tokens.insert(call.access.clone(), token);
        Ok(value)
    }
}

/// One request to the token server.
async fn ask_token(
    call: &Call<'_>,
    credential: &Credential,
    realm: &Url,
    (service, scopes): (Option<&str>, &[String]),
) -> Result<Token> {
    if let Credential::Bearer(token) = credential {
        return Ok(Token { value: token.clone(), until: Instant::now() + UNSAID });
    }
    let mut pairs: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
    let ask = match credential {
        Credential::Identity(token) => {
            let scope = scopes.join(" ");
            pairs.extend([("scope", scope.as_str()), ("client_id", CLIENT), ("grant_type", "refresh_token")]);
            pairs.push(("refresh_token", token.expose()));
            let mut form = realm.clone();
            form.query_pairs_mut().clear().extend_pairs(pairs);
            let body = form.query().unwrap_or_default().to_owned();
            let ask = Ask::new(Method::POST, realm.clone()).body(body);
            ask.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        }
        _ => {
            pairs.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
            let mut url = realm.clone();
            url.query_pairs_mut().extend_pairs(pairs);
            Ask::new(Method::GET, url)
        }
    };
    let login = credential.header().map(value).transpose()?;
    let ask = login.into_iter().fold(ask, |ask, login| ask.header(AUTHORIZATION, login));
    let response = call.send_as_is(&ask).await?;
    if response.status() != StatusCode::OK {
        return Err(refused(call, credential, realm, &Refusal::read(call, response).await));
    }
    read_token(call, realm, &call.bytes(response, DOCUMENT).await?)
}

fn refused(call: &Call<'_>, credential: &Credential, realm: &Url, refusal: &Refusal) -> Error {
    let host = realm.host_str().unwrap_or_default();
    let client_error = refusal.status.is_client_error() && refusal.status != StatusCode::TOO_MANY_REQUESTS;
    if !client_error {
        return refusal.error(call).with("token server", host);
    }
    let (who, whole) = (credential.who(), refusal.text());
    let message = format!("`{host}` gives {who} no token for `{}`: {whole}", call.registry.place.host);
    Error::new(ErrorKind::Unauthenticated, call.operation, message)
        .with("repository", &call.access.repository)
        .advice(format!("check the credentials for `{}`", call.registry.place.host))
}

fn read_token(call: &Call<'_>, realm: &Url, bytes: &[u8]) -> Result<Token> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    // The parser's own words could show a token.
    let answer: Option<Answer> = serde_json::from_slice(bytes).ok();
    let life = answer.as_ref().and_then(|answer| answer.expires_in).map_or(UNSAID, Duration::from_secs);
    let token = answer.and_then(|answer| answer.token.or(answer.access_token)).filter(|token| !token.is_empty());
    let Some(token) = token else {
        let message = format!("the token server `{}` answered without a token", realm.host_str().unwrap_or_default());
        return Err(Error::new(ErrorKind::Unauthenticated, call.operation, message));
    };
    // Some say 0 for one that never ends.
    let life = if life.is_zero() { UNSAID } else { life };
    let until = Instant::now() + life.saturating_sub(MARGIN).max(life / 2).min(Duration::from_hours(24));
    Ok(Token { value: Secret::new(token), until })
}

/// The first challenge that can be met.
fn challenge(call: &Call<'_>, headers: &HeaderMap) -> Result<Option<Challenge>> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<_> = texts.filter_map(|text| parse_challenges(text).ok()).flatten().collect();
    let of = |scheme: &str| all.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
    let Some(found) = of("Bearer") else {
        return Ok(of("Basic").map(|_| Challenge { scheme: Scheme::Basic, scope: None }));
    };
    let parameter = |name: &str| {
        let found = found.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    let realm = parameter("realm").unwrap_or_default();
    let Some(url) = Url::parse(&realm).ok().filter(|url| call.registry.place.allows(url)) else {
        let message = format!("`{}` sends logins to `{realm}`, which is not encrypted", call.registry.place.host);
        return Err(Error::new(ErrorKind::Unauthenticated, call.operation, message)
            .advice("nothing was sent; if that is right, allow plain HTTP for this registry"));
    };
    let scheme = Scheme::Bearer { realm: url, service: parameter("service") };
    Ok(Some(Challenge { scheme, scope: parameter("scope") }))
}

fn bearer(token: &Secret<String>) -> Result<HeaderValue> {
    value(Secret::new(format!("Bearer {}", token.expose())))
}

#[expect(clippy::needless_pass_by_value, reason = "a secret ends here")]
fn value(text: Secret<String>) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text.expose()).map_err(|_| {
        Error::new(ErrorKind::Unauthenticated, "registry.login", "the credentials hold bytes that no header may hold")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
