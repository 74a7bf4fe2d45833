//! What builds that did not end left behind.

use async_trait::async_trait;

use super::LayoutBuilder;
use crate::{
    Context, Result,
    backend::{Inspect, Leftover},
    leftovers::{self, GRACE, Listing, Purpose},
    vocabulary::Name,
};

impl LayoutBuilder {
    fn listing(
        &self,
        cx: &Context,
        operation: &'static str,
    ) -> Result<impl FnOnce(Purpose) -> Result<Listing> + Send + use<>> {
        let now = leftovers::begin(cx, operation)?;
        let layout = self.layout.clone();
        Ok(move |purpose| {
            let mut listing = Listing::default();
            layout.leftovers(&mut listing, operation, (purpose, now, GRACE))?;
            Ok(listing)
        })
    }
}

#[async_trait]
impl Inspect for LayoutBuilder {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        const OPERATION: &str = "image.inspect";
        leftovers::look(OPERATION, self.listing(cx, OPERATION)?).await
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        const OPERATION: &str = "image.clean";
        leftovers::clean(OPERATION, leftover, self.listing(cx, OPERATION)?).await
    }
}
