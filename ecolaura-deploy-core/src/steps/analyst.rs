//! Judging a candidate by metrics.

use std::sync::Arc;

use async_trait::async_trait;

use super::Analyst;
use crate::{
    Context, Result, Verdict,
    analysis::{self, Analysis, Subject},
    backend::{AppliedWorkload, MetricSource},
};

/// Judges every service of a candidate by one [`Analysis`] of its metrics. The worst verdict counts.
#[derive(Debug, Clone)]
pub struct MetricAnalyst {
    source: Arc<dyn MetricSource>,
    analysis: Analysis,
}

impl MetricAnalyst {
    /// Judges what `source` measures by `analysis`.
    pub fn new(source: Arc<dyn MetricSource>, analysis: Analysis) -> Self {
        Self { source, analysis }
    }
}

#[async_trait]
impl Analyst for MetricAnalyst {
    async fn judge(&self, cx: &Context, candidate: &AppliedWorkload, percent: u8) -> Result<(Verdict, Vec<String>)> {
        if percent == 0 {
            return Ok((Verdict::Pass, vec!["no request to judge by yet; all replicas are ready".to_owned()]));
        }
        let mut reasons = Vec::new();
        for service in &candidate.services {
            let subject = Subject::new(candidate.namespace.as_str(), service.clone());
            let report = analysis::run(cx, self.source.as_ref(), &subject, &self.analysis).await?;
            reasons.extend(report.reasons.iter().map(|reason| format!("{service}: {reason}")));
            if report.verdict != Verdict::Pass {
                return Ok((report.verdict, reasons));
            }
        }
        Ok((Verdict::Pass, reasons))
    }
}
