//! Trying again, where it is safe and can help.

use std::{error::Error as _, time::Duration};

use super::call::Call;
use crate::{
    Error, ErrorKind, Result, Retry,
    nonce::{NonceSource as _, RandomNonces},
    step::EffectClass,
};

/// The longest pause that a registry may ask for and get; longer ones are the caller's to decide.
const LONGEST: Duration = Duration::from_mins(5);

impl Call<'_> {
    /// Does `work`, which may be done again, until it succeeds, fails for good, or was tried as often as allowed. A
    /// pause that would not end before the deadline is not begun.
    pub(super) async fn retried<T, F>(&self, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let policy = self.registry.retries;
        let mut attempt = 1;
        loop {
            let error = match work().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Some(pause) = policy.pause(attempt, &error, EffectClass::Converging) else {
                return Err(spent(error, attempt));
            };
            let pause = jitter(pause, asked(&error), RandomNonces.next());
            if pause > LONGEST || self.cx.remaining().is_some_and(|left| left <= pause) {
                return Err(error);
            }
            self.cx.status(format!("{}; again in {:.1} s", error.message(), pause.as_secs_f32()));
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }
}

fn asked(error: &Error) -> Duration {
    match error.retry() {
        Retry::After(asked) => asked.unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

/// Between half of `pause` and all of it, so that many who failed together do not come back together, and never less
/// than was `asked` for.
fn jitter(pause: Duration, asked: Duration, random: u64) -> Duration {
    let part = u32::try_from(random % 1000).unwrap_or_default();
    (pause / 2 + pause / 2 * part / 1000).max(asked)
}

/// What is left after the last attempt: nobody above tries again.
fn spent(error: Error, attempts: u32) -> Error {
    match error.retry() {
        Retry::After(_) => error.with("attempts", attempts).with_retry(Retry::Exhausted),
        _ => error,
    }
}

/// A request that got no answer.
pub(super) fn transport(operation: &'static str, host: &str, error: &reqwest::Error) -> Error {
    let causes = error.source().map(crate::causes).unwrap_or_default();
    let what = if error.is_connect() { "cannot be reached" } else { "broke off" };
    let message =
        if causes.is_empty() { format!("`{host}` {what}: {error}") } else { format!("`{host}` {what}: {causes}") };
    let failed = Error::new(ErrorKind::Unavailable, operation, message);
    if causes.contains("InvalidContentType") {
        let advice = "it does not speak TLS; if it speaks plain HTTP, allow that for this registry";
        return failed.with_retry(Retry::Never).advice(advice);
    }
    if causes.contains("certificate") {
        return failed
            .with_retry(Retry::Never)
            .advice("give the certificate of the authority that signed the registry's");
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_keep_what_was_asked_for() {
        let pause = |random| jitter(Duration::from_secs(4), Duration::ZERO, random);
        assert_eq!((pause(0), pause(500)), (Duration::from_secs(2), Duration::from_secs(3)));
        assert!((0..5000).all(|random| (2.0..4.0).contains(&pause(random).as_secs_f32())));
        assert_eq!(jitter(Duration::from_secs(9), Duration::from_secs(9), 1), Duration::from_secs(9));
    }
}
