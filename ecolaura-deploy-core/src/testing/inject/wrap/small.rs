//! Metrics, secrets, approvals, flags.

use async_trait::async_trait;

use super::Injected;
use crate::{
    Context, Result, Secret, SecretRef,
    backend::{
        Approval, ApprovalRequest, Approver, FeatureFlags, FlagChange, FlagState, MetricQuery, MetricSource, Sample,
        SecretStore,
    },
    vocabulary::Name,
};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: MetricSource + ?Sized> MetricSource for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    async fn query(&self, cx: &Context, query: &MetricQuery) -> Result<Sample> {
        self.call("metrics.query", cx, &query.service, self.inner.query(cx, query)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: SecretStore + ?Sized> SecretStore for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    async fn resolve(&self, cx: &Context, name: &str) -> Result<SecretRef> {
        self.call("secrets.resolve", cx, name, self.inner.resolve(cx, name)).await
    }

    async fn get(&self, cx: &Context, reference: &SecretRef) -> Result<Secret<String>> {
        self.call("secrets.get", cx, &reference.name, self.inner.get(cx, reference)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Approver + ?Sized> Approver for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    async fn request(&self, cx: &Context, request: &ApprovalRequest) -> Result<Approval> {
        self.call("approval.request", cx, &request.subject, self.inner.request(cx, request)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: FeatureFlags + ?Sized> FeatureFlags for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn fences(&self) -> bool {
        self.inner.fences()
    }

    async fn get(&self, cx: &Context, flag: &str) -> Result<FlagState> {
        self.call("flags.get", cx, flag, self.inner.get(cx, flag)).await
    }

    async fn set(&self, cx: &Context, change: &FlagChange) -> Result<()> {
        self.call("flags.set", cx, &change.flag, self.inner.set(cx, change)).await
    }
}
