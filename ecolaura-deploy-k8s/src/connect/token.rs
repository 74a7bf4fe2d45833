//! Bearer tokens that are renewed.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Error, ErrorKind, Result, Secret,
    backend::{Token, TokenSource},
    redact::Redactor,
};
use http::HeaderValue;
use tokio::time::Instant;

const OPERATION: &str = "cluster.token";

/// How long a source may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A token is renewed when a quarter of its life is left, but not earlier than this before its end.
const EARLIEST: Duration = Duration::from_mins(5);

/// After a source failed, and while the old token is still good: when it is asked again.
const PAUSE: Duration = Duration::from_secs(10);

/// The present token of a source.
pub(super) struct Tokens {
    source: Arc<dyn TokenSource>,
    redactor: Redactor,
    held: Mutex<Held>,
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    token: Option<Bearer>,
    /// Counts tokens, so that a refusal is of the one that was sent.
    serial: u64,
}

/// A token as it is sent.
#[derive(Clone)]
pub(super) struct Bearer {
    pub(super) header: HeaderValue,
    pub(super) serial: u64,
    renew: Option<Instant>,
    end: Option<Instant>,
}

impl Bearer {
    pub(super) fn is_good(&self) -> bool {
        self.end.is_none_or(|end| Instant::now() < end)
    }

    fn is_fresh(&self) -> bool {
        self.renew.is_none_or(|renew| Instant::now() < renew) && self.is_good()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Tokens {
    /// `redactor` learns every token.
    pub(super) fn new(source: Arc<dyn TokenSource>, redactor: Redactor) -> Self {
        Self { source, redactor, held: Mutex::default(), renewing: tokio::sync::Mutex::new(()) }
    }

    /// The token to send now. While another caller renews it, the old one serves as long as it is good.
    pub(super) async fn bearer(&self) -> Result<Bearer> {
        let held = self.held();
        if let Some(bearer) = held.clone().filter(Bearer::is_fresh) {
            return Ok(bearer);
        }
        let _turn = match (self.renewing.try_lock(), held.filter(Bearer::is_good)) {
            (Ok(turn), _) => turn,
            (Err(_), Some(bearer)) => return Ok(bearer),
            (Err(_), None) => self.renewing.lock().await,
        };
        match self.held() {
            Some(bearer) if bearer.is_fresh() => Ok(bearer),
            held => self.renew(held.filter(Bearer::is_good)).await,
        }
    }

    /// The server did not accept the token with this number: another is made, unless that happened already.
    pub(super) fn refused(&self, serial: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.token.take_if(|bearer| bearer.serial == serial);
    }

    fn held(&self) -> Option<Bearer> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).token.clone()
    }

    async fn renew(&self, good: Option<Bearer>) -> Result<Bearer> {
        let asked = Instant::now();
        let made = match tokio::time::timeout(PATIENCE, self.source.token()).await {
            Ok(made) => made,
            Err(_) => Err(Error::new(ErrorKind::Timeout, OPERATION, "the token source did not answer in a minute")),
        };
        match (made.and_then(|token| self.sendable(&token, asked)), good) {
            (Ok(bearer), _) => Ok(self.keep(bearer)),
            (Err(error), Some(good)) => {
                tracing::warn!(error = %error.report(), "the token could not be renewed; the old one is still good");
                Ok(self.keep(Bearer { renew: Some(Instant::now() + PAUSE), ..good }))
            }
            (Err(error), None) => Err(error),
        }
    }

    fn sendable(&self, token: &Token, asked: Instant) -> Result<Bearer> {
        self.redactor.register(token.value());
        let mut header = HeaderValue::try_from(format!("Bearer {}", token.value().expose().trim())).map_err(|_| {
            let message = "the token has characters that no header can hold";
            Error::new(ErrorKind::Unauthenticated, OPERATION, message).advice("check what the token source gives")
        })?;
        header.set_sensitive(true);
        let end = token.life().and_then(|life| asked.checked_add(life));
        let renew = end.zip(token.life()).map(|(end, life)| end - (life / 4).min(EARLIEST));
        Ok(Bearer { header, serial: 0, renew, end })
    }

    fn keep(&self, bearer: Bearer) -> Bearer {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.serial += 1;
        let bearer = Bearer { serial: held.serial, ..bearer };
        held.token = Some(bearer.clone());
        bearer
    }
}

/// How often a token file is read: the kubelet writes another into it long before the old one ends.
const REREAD: Duration = Duration::from_mins(1);

/// A file that another program keeps fresh.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    /// Some programs take the file away after they started; the last token serves on.
    last: Mutex<Option<Secret<String>>>,
}

impl TokenFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::default() }
    }
}

#[async_trait]
impl TokenSource for TokenFile {
    async fn token(&self) -> Result<Token> {
        let read = tokio::fs::read_to_string(&self.path).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let value = match (read, last.as_ref()) {
            (Ok(text), _) if !text.trim().is_empty() => Secret::new(text.trim().to_owned()),
            (_, Some(last)) => last.clone(),
            (Ok(_), None) => {
                let message = format!("the token file `{}` is empty", self.path.display());
                return Err(Error::new(ErrorKind::Unauthenticated, OPERATION, message));
            }
            (Err(error), None) => return Err(Error::io(OPERATION, &self.path, error)),
        };
        *last = Some(value.clone());
        Ok(Token::new(value).good_for(REREAD))
    }
}
