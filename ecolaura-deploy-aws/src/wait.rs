//! Waiting for what AWS does by itself: a look, a pause, and the next look, until it is done or the patience ends.

use std::time::Duration;

use ecolaura_deploy_core::{Context, Effect, Error, ErrorKind, Result};
use tokio::time::Instant;

/// How long something may take, and when it is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) patience: Duration,
    /// Between the first two looks.
    pub(crate) pause: Duration,
    /// Pauses grow up to this one.
    pub(crate) longest: Duration,
}

/// One wait.
///
/// A look that fails says nothing of what is looked at: it goes on. So a throttled look is forgiven until the patience
/// ends, and one that is lost on its way too, once there was an answer. Before that it is told at once, since AWS may not
/// be reachable from here at all.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    cx: &'a Context,
    operation: &'static str,
    pace: Pace,
    end: Instant,
    effect: Effect,
    advice: &'static str,
    reached: bool,
    /// What was seen last, and how it was.
    seen: Option<(String, String)>,
    /// Why nothing was seen since.
    unseen: Option<Error>,
}

impl<'a> Wait<'a> {
    /// Begins now. A wait that ends too early has `effect`, and `advice` says what to do then.
    pub(crate) fn new(
        (cx, operation): (&'a Context, &'static str),
        pace: Pace,
        (effect, advice): (Effect, &'static str),
    ) -> Self {
        let end = Instant::now() + pace.patience;
        Self { cx, operation, pace, end, effect, advice, reached: false, seen: None, unseen: None }
    }

    /// Whether there was an answer before the wait began.
    #[cfg(any(test, feature = "appconfig", feature = "cloudfront", feature = "rds", feature = "security-groups"))]
    pub(crate) fn reached(self, reached: bool) -> Self {
        Self { reached, ..self }
    }

    /// What is known of the effect from now on.
    #[cfg(feature = "cloudfront")]
    pub(crate) fn has(&mut self, effect: Effect) {
        self.effect = effect;
    }

    /// Whether there is no time for another pause.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() + self.pace.pause > self.end
    }

    /// Looks until there is an answer.
    ///
    /// Fails as the look does if waiting cannot help, and with `Timeout`, caused by the last failure, if the patience ends.
    pub(crate) async fn look<T, F>(&mut self, look: impl Fn() -> F + Send + Sync) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        loop {
            if let Some(seen) = self.heard(look().await).await? {
                return Ok(seen);
            }
        }
    }

    /// The answer; nothing, some time later, if the failure is one that is forgiven.
    pub(crate) async fn heard<T: Send>(&mut self, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(seen) => {
                (self.reached, self.unseen) = (true, None);
                Ok(Some(seen))
            }
            Err(error) if self.forgives(&error) => {
                self.cx.status(format!("no answer yet: {}", error.message()));
                self.unseen = Some(error);
                self.sleep().await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Says that `what` is still `status`, and lets some time pass.
    ///
    /// Fails with `Timeout` if there is none left; what AWS has begun goes on there.
    pub(crate) async fn pause(&mut self, what: &str, status: &str) -> Result<()> {
        self.seen = Some((what.to_owned(), status.to_owned()));
        self.cx.status(format!("{what} is {status}"));
        self.sleep().await
    }

    fn forgives(&self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::RateLimited => true,
            ErrorKind::Unavailable => self.reached,
            _ => false,
        }
    }

    async fn sleep(&mut self) -> Result<()> {
        if self.is_over() {
            return Err(self.late());
        }
        let pause = self.pace.pause;
        self.pace.pause = (pause * 3 / 2).min(self.pace.longest);
        self.cx.sleep(self.operation, pause).await.map_err(|error| error.with_effect(self.effect))
    }

    fn late(&mut self) -> Error {
        let seconds = self.pace.patience.as_secs();
        let message = match (&self.seen, &self.unseen) {
            (Some((what, status)), None) => format!("{what} is still {status} after {seconds} s"),
            (Some((what, status)), Some(_)) => {
                format!("{what} was {status} when it was last seen, and cannot be looked at after {seconds} s")
            }
            (None, _) => format!("there was no answer in {seconds} s"),
        };
        let error = Error::new(ErrorKind::Timeout, self.operation, message).advice(self.advice);
        let error = self.seen.iter().fold(error, |error, (_, status)| error.with("status", status));
        let Some(cause) = self.unseen.take() else { return error.with_effect(self.effect) };
        // What was asked for may have been done although nobody heard of it.
        let effect = if cause.effect() == Effect::Unknown { Effect::Unknown } else { self.effect };
        error.with_effect(effect).with_source(cause)
    }
}

#[cfg(test)]
mod tests;
