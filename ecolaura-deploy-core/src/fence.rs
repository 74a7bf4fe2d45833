//! Fencing: whatever a deployer changes remembers the newest epoch that changed it, and refuses older ones.
//!
//! A holder that was paused, and was taken over meanwhile, still believes that it holds the lock. Only the thing that
//! it is about to change can tell. The epoch is a number that grows with every holder of an environment's lock
//! ([`crate::lock`]), so the resource needs to keep one number for each environment. The rule is Kleppmann's ("How to
//! do distributed locking", 2016).
//!
//! A resource remembers every call that it let in, also one that found nothing to do: whoever went on from there relies
//! on it. What is only added under its own digest (blobs, manifests, files of a site) needs no fence: doing it again, or
//! late, harms nobody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Context, Error, ErrorKind, Result, vocabulary::EnvironmentName};

/// Whether the caller may change a resource whose newest epoch for the caller's environment is `seen`; the epoch that
/// the resource remembers from here on, in the same atomic move as the change itself.
///
/// A caller outside a run has epoch 0. It is let in, and the resource remembers what it did.
///
/// Fails with [`ErrorKind::Fenced`], naming both epochs; nothing is changed then.
///
/// ```
/// use ecolaura_deploy_core::{Context, ErrorKind, fence::admit};
/// let cx = Context::new("dev".parse()?).with_epoch(7);
/// assert_eq!(admit("registry.tag", &cx, 6)?, 7);
/// assert_eq!(admit("registry.tag", &cx, 8).unwrap_err().kind(), ErrorKind::Fenced);
/// # Ok::<_, ecolaura_deploy_core::Error>(())
/// ```
pub fn admit(operation: &'static str, cx: &Context, seen: u64) -> Result<u64> {
    let own = cx.epoch();
    if own != 0 && own < seen {
        let message = format!("epoch {own} of {} is over: epoch {seen} works on it", cx.environment());
        return Err(Error::new(ErrorKind::Fenced, operation, message)
            .advice("stop: another deployer took over, and this one changes nothing more"));
    }
    Ok(own.max(seen))
}

/// The newest epoch of each environment, as a resource keeps it: in the state that it replaces in one move.
///
/// ```
/// use ecolaura_deploy_core::{Context, ErrorKind, fence::Epochs};
/// let cx = |epoch| Context::new("dev".parse().unwrap()).with_epoch(epoch);
/// let mut epochs = Epochs::default();
/// epochs.admit("registry.tag", &cx(8))?;
/// assert_eq!(epochs.admit("registry.tag", &cx(7)).unwrap_err().kind(), ErrorKind::Fenced);
/// # Ok::<_, ecolaura_deploy_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epochs(BTreeMap<EnvironmentName, u64>);

impl Epochs {
    /// Lets the caller in and remembers its epoch, as [`admit`] does.
    pub fn admit(&mut self, operation: &'static str, cx: &Context) -> Result<()> {
        let seen = self.0.get(cx.environment()).copied().unwrap_or_default();
        let newest = admit(operation, cx, seen)?;
        if newest > seen {
            self.0.insert(cx.environment().clone(), newest);
        }
        Ok(())
    }

    /// Whether nothing was remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_epochs_replace_older_ones_and_nobody_else_counts() {
        let cx = |epoch| Context::new("dev".parse().unwrap()).with_epoch(epoch);
        assert_eq!(admit("t", &cx(3), 0).unwrap(), 3);
        assert_eq!(admit("t", &cx(3), 3).unwrap(), 3);
        assert_eq!(admit("t", &cx(0), 3).unwrap(), 3, "outside a run nothing is remembered or refused");
        let error = admit("t", &cx(2), 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.report().contains("epoch 2 of dev") && error.report().contains("epoch 3"), "{}", error.report());
    }

    #[test]
    fn each_environment_has_its_own_number() {
        let cx = |environment: &str, epoch| Context::new(environment.parse().unwrap()).with_epoch(epoch);
        let mut epochs = Epochs::default();
        epochs.admit("t", &cx("dev", 0)).unwrap();
        assert!(epochs.is_empty(), "outside a run there is nothing to remember");
        epochs.admit("t", &cx("dev", 5)).unwrap();
        epochs.admit("t", &cx("prod", 2)).unwrap();
        let kept = serde_json::to_string(&epochs).unwrap();
        assert_eq!(kept, r#"{"dev":5,"prod":2}"#);
        let mut epochs: Epochs = serde_json::from_str(&kept).unwrap();
        assert_eq!(epochs.admit("t", &cx("dev", 4)).unwrap_err().kind(), ErrorKind::Fenced);
        epochs.admit("t", &cx("dev", 0)).unwrap();
        epochs.admit("t", &cx("prod", 3)).unwrap();
        assert_eq!(serde_json::to_string(&epochs).unwrap(), r#"{"dev":5,"prod":3}"#);
    }
}
