//! How long to wait before a container is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// A container that ran for this long is not in a loop.
const HEALTHY: Duration = Duration::from_secs(30);

/// Doubles from 250 ms to 10 s, where Kubernetes goes from 10 s to 5 minutes: this target is for development.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after a container that ran for `ran`, and which failure in a row that is.
    pub(super) fn after(&mut self, ran: Duration) -> (Duration, u32) {
        if ran >= HEALTHY {
            self.failures = 0;
        }
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        (pause, self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_bound_and_forgets() {
        let mut backoff = Backoff::default();
        let mut pauses = |ran| backoff.after(Duration::from_secs(ran)).0.as_millis();
        assert_eq!([0; 8].map(&mut pauses), [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!([30, 0].map(&mut pauses), [250, 500]);
    }
}
