//! How often and how fast a failed attempt is repeated.

use std::{num::NonZeroU32, time::Duration};

use crate::{Effect, Error, Retry, step::EffectClass};

/// At most so many attempts, with exponential pauses between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// All attempts together, the first included.
    pub attempts: NonZeroU32,
    /// The pause after the first failure; doubled each time.
    pub base: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Default for RetryPolicy {
    /// 3 attempts, 500 ms, 20 s.
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::MIN.saturating_add(2),
            base: Duration::from_millis(500),
            max: Duration::from_secs(20),
        }
    }
}

impl RetryPolicy {
    /// One attempt.
    pub fn never() -> Self {
        Self { attempts: NonZeroU32::MIN, ..Self::default() }
    }

    /// At most `attempts`, beginning with a pause of `base`.
    pub fn new(attempts: NonZeroU32, base: Duration) -> Self {
        Self { attempts, base, ..Self::default() }
    }

    /// The pause after `attempt` failed with `error`; `None` when there is no next attempt. Only what the error calls
    /// repeatable is repeated, and after an effect only where the class makes that safe.
    pub fn pause(&self, attempt: u32, error: &Error, class: EffectClass) -> Option<Duration> {
        let Retry::After(asked) = error.retry() else { return None };
        let safe = error.effect() == Effect::None
            || matches!(class, EffectClass::Pure | EffectClass::Converging | EffectClass::Keyed);
        if !safe || attempt >= self.attempts.get() {
            return None;
        }
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(16)));
        Some(doubled.min(self.max).max(asked.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn error(kind: ErrorKind, effect: Effect) -> Error {
        Error::new(kind, "t", "t").with_effect(effect)
    }

    #[test]
    fn only_what_is_safe_is_repeated() {
        let policy = RetryPolicy::default();
        let unavailable = |effect| error(ErrorKind::Unavailable, effect);
        let pause = |error: &Error, class| policy.pause(1, error, class);
        assert_eq!(pause(&error(ErrorKind::InvalidInput, Effect::None), EffectClass::Pure), None);
        assert_eq!(pause(&unavailable(Effect::None), EffectClass::Opaque), Some(Duration::from_millis(500)));
        assert_eq!(pause(&unavailable(Effect::Unknown), EffectClass::Opaque), None);
        assert_eq!(pause(&unavailable(Effect::Unknown), EffectClass::Keyed), Some(Duration::from_millis(500)));
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let policy = RetryPolicy { attempts: NonZeroU32::new(9).unwrap(), ..RetryPolicy::default() };
        let error = error(ErrorKind::Unavailable, Effect::None);
        let pauses: Vec<_> =
            (1..=9).map(|n| policy.pause(n, &error, EffectClass::Pure).map(|pause| pause.as_millis())).collect();
        let expected = [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000].map(Some);
        assert_eq!(pauses[..8], expected);
        assert_eq!(pauses[8], None);
    }

    #[test]
    fn the_other_sides_wish_is_honoured() {
        let error = error(ErrorKind::RateLimited, Effect::None).with_retry(Retry::After(Some(Duration::from_mins(1))));
        assert_eq!(RetryPolicy::default().pause(1, &error, EffectClass::Pure), Some(Duration::from_mins(1)));
    }
}
