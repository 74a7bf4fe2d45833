//! Outputs remembered by fingerprint: what passed or was made once is not done again for the same inputs.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Result, context::Recall, store::RunStore, vocabulary::Fingerprint};

#[derive(Debug)]
pub(crate) struct Evidence(pub(crate) Arc<dyn RunStore>);

fn prefix(kind: &str, fingerprint: &Fingerprint) -> String {
    let kind: String = kind.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("evidence/{kind}/{}", fingerprint.digest().to_hex())
}

impl Evidence {
    /// Remembers `output`. Later ones come after earlier ones.
    pub(crate) async fn remember(
        &self,
        kind: &str,
        fingerprint: &Fingerprint,
        run: &str,
        output: &serde_json::Value,
    ) -> Result<()> {
        let key = format!("{}/{run}", prefix(kind, fingerprint));
        self.0.create(&key, output.to_string().into()).await.map(drop)
    }
}

#[async_trait]
impl Recall for Evidence {
    async fn recall(&self, kind: &str, fingerprint: &Fingerprint) -> Option<serde_json::Value> {
        let keys = self.0.list(&prefix(kind, fingerprint)).await.ok()?;
        let body = self.0.get(keys.last()?).await.ok()??;
        serde_json::from_slice(&body).ok()
    }
}
