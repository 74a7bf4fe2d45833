//! What pushes that did not end left behind.

use std::path::Path;

use async_trait::async_trait;

use super::LayoutRegistry;
use crate::{
    Context, Result,
    backend::{Inspect, Leftover},
    leftovers::{self, Listing, Purpose, entries},
    local::oci::Layout,
    vocabulary::Name,
};

impl LayoutRegistry {
    /// Lists every repository, or the one in which `only` lies.
    fn listing(
        &self,
        cx: &Context,
        operation: &'static str,
        only: Option<&Leftover>,
    ) -> Result<impl FnOnce(Purpose) -> Result<Listing> + Send + use<>> {
        let now = leftovers::begin(cx, operation)?;
        let (dir, grace, cx) = (self.dir.clone(), self.grace, cx.clone());
        let only = only.map(|leftover| leftover.object.clone());
        Ok(move |purpose| {
            let mut listing = Listing::default();
            for (_, path, seen) in entries(operation, &dir)? {
                cx.check(operation)?;
                if seen.is_dir() && only.as_ref().is_none_or(|only| Path::new(only).starts_with(&path)) {
                    Layout::new(path).leftovers(&mut listing, operation, (purpose, now, grace))?;
                }
            }
            Ok(listing)
        })
    }
}

#[async_trait]
impl Inspect for LayoutRegistry {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        const OPERATION: &str = "registry.inspect";
        leftovers::look(OPERATION, self.listing(cx, OPERATION, None)?).await
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        const OPERATION: &str = "registry.clean";
        leftovers::clean(OPERATION, leftover, self.listing(cx, OPERATION, Some(leftover))?).await
    }
}
