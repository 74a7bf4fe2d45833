//! Running services, serving sites, changing schemas.

use std::path::PathBuf;

use async_trait::async_trait;

use super::Injected;
use crate::{
    Context, Result,
    backend::{
        Activation, AppliedWorkload, ApplyRequest, Backup, BackupLevel, CdnCapabilities, CdnPublisher,
        ClusterCapabilities, ClusterPlan, ClusterSnapshot, ClusterStatus, ClusterTarget, DataCheck, Invalidation,
        Measurements, MigrationPlan, MigrationReport, Migrator, RolloutState, SiteHistory, SiteManifest,
        TrafficRequest, UploadRequest,
    },
    vocabulary::{MigrationVersion, Name, ServiceName},
};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: ClusterTarget + ?Sized> ClusterTarget for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn capabilities(&self) -> ClusterCapabilities {
        self.inner.capabilities()
    }

    async fn plan(&self, cx: &Context, request: &ApplyRequest) -> Result<ClusterPlan> {
        self.call("cluster.plan", cx, &request.workload.namespace, self.inner.plan(cx, request)).await
    }

    async fn apply(&self, cx: &Context, request: &ApplyRequest) -> Result<AppliedWorkload> {
        self.call("cluster.apply", cx, &request.workload.namespace, self.inner.apply(cx, request)).await
    }

    async fn wait_until_ready(&self, cx: &Context, applied: &AppliedWorkload) -> Result<RolloutState> {
        self.call("cluster.wait_until_ready", cx, &applied.namespace, self.inner.wait_until_ready(cx, applied)).await
    }

    async fn shift(&self, cx: &Context, request: &TrafficRequest) -> Result<()> {
        self.call("cluster.shift", cx, &request.candidate.namespace, self.inner.shift(cx, request)).await
    }

    async fn status(&self, cx: &Context, namespace: &Name) -> Result<ClusterStatus> {
        self.call("cluster.status", cx, namespace, self.inner.status(cx, namespace)).await
    }

    async fn restore(&self, cx: &Context, snapshot: &ClusterSnapshot) -> Result<()> {
        self.call("cluster.restore", cx, &snapshot.namespace, self.inner.restore(cx, snapshot)).await
    }

    async fn logs(&self, cx: &Context, namespace: &Name, service: &ServiceName, lines: usize) -> Result<Vec<String>> {
        self.call("cluster.logs", cx, namespace, self.inner.logs(cx, namespace, service, lines)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: CdnPublisher + ?Sized> CdnPublisher for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn capabilities(&self) -> CdnCapabilities {
        self.inner.capabilities()
    }

    fn cost(&self, history: &SiteHistory, site: &SiteManifest, missing: &[String]) -> Vec<String> {
        self.inner.cost(history, site, missing)
    }

    async fn history(&self, cx: &Context) -> Result<SiteHistory> {
        self.call("cdn.history", cx, "", self.inner.history(cx)).await
    }

    async fn upload(&self, cx: &Context, request: &UploadRequest) -> Result<bool> {
        self.call("cdn.upload", cx, &request.key, self.inner.upload(cx, request)).await
    }

    async fn missing(&self, cx: &Context, manifest: &SiteManifest) -> Result<Vec<String>> {
        self.call("cdn.missing", cx, manifest.id(), self.inner.missing(cx, manifest)).await
    }

    async fn activate(&self, cx: &Context, activation: &Activation) -> Result<()> {
        self.call("cdn.activate", cx, activation.manifest.id(), self.inner.activate(cx, activation)).await
    }

    async fn invalidate(&self, cx: &Context, invalidation: &Invalidation) -> Result<()> {
        self.call("cdn.invalidate", cx, &invalidation.reference, self.inner.invalidate(cx, invalidation)).await
    }

    async fn prune(&self, cx: &Context, keep: usize) -> Result<Vec<String>> {
        self.call("cdn.prune", cx, keep, self.inner.prune(cx, keep)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Migrator + ?Sized> Migrator for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn fences(&self) -> bool {
        self.inner.fences()
    }

    fn proves(&self) -> BackupLevel {
        self.inner.proves()
    }

    async fn plan(&self, cx: &Context) -> Result<MigrationPlan> {
        self.call("database.plan", cx, "", self.inner.plan(cx)).await
    }

    async fn migrate(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        self.call("database.migrate", cx, target, self.inner.migrate(cx, target)).await
    }

    async fn revert(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        self.call("database.revert", cx, target, self.inner.revert(cx, target)).await
    }

    async fn backup(&self, cx: &Context, key: &str, level: BackupLevel) -> Result<Backup> {
        self.call("database.backup", cx, key, self.inner.backup(cx, key, level)).await
    }

    async fn restore(&self, cx: &Context, backup: &Backup) -> Result<PathBuf> {
        self.call("database.restore", cx, &backup.key, self.inner.restore(cx, backup)).await
    }

    async fn measure(&self, cx: &Context, checks: &[DataCheck]) -> Result<Measurements> {
        self.call("database.measure", cx, "", self.inner.measure(cx, checks)).await
    }
}
