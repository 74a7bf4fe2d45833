//! Whether backends may be in use.

use super::{Doctor, held};
use crate::{Context, ErrorKind, Result, store, vocabulary::EnvironmentName};

impl Doctor {
    /// Why what is left over in the backends may be in use; `None` if it is not. Environments of one run store share
    /// backends, so each of them counts.
    pub(super) async fn in_use(&self, cx: &Context, operation: &'static str) -> Result<Option<String>> {
        for name in self.store.names("environments").await? {
            cx.check(operation)?;
            // What is not an environment's name was not made by a run.
            let Ok(environment) = name.parse::<EnvironmentName>() else { continue };
            if let Some(why) = self.environment_in_use(&environment).await? {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    async fn environment_in_use(&self, environment: &EnvironmentName) -> Result<Option<String>> {
        let store = self.store.as_ref();
        let held = match held::read(store, environment).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Ok(Some(format!("{environment} may be held by a newer program")));
            }
            held => held?,
        };
        if let Some(why) = held.and_then(|held| held.in_use(environment)) {
            return Ok(Some(why));
        }
        let open = match store::state(store, environment).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Ok(Some(format!("a newer program ran on {environment}")));
            }
            state => state?.open,
        };
        Ok(open.map(|open| format!("run {} of {environment} is open and may still need it", open.run)))
    }
}
