//! Whether backends may be in use.

use super::{Doctor, runs};
use crate::{Context, Result, vocabulary::EnvironmentName};

impl Doctor {
    /// Why what is left over in the backends may be in use; `None` if it is not. Environments of one run store share
    /// backends, so each of them counts.
    pub(super) async fn in_use(&self, cx: &Context, operation: &'static str) -> Result<Option<String>> {
        for name in self.store.names("environments").await? {
            cx.check(operation)?;
            // What is not an environment's name was not made by a run.
            let Ok(environment) = name.parse::<EnvironmentName>() else { continue };
            if let Some(run) = runs::newest_open(self.store.as_ref(), &environment).await? {
                return Ok(Some(format!("run {run} of {environment} is open and may still need it")));
            }
        }
        Ok(None)
    }
}
