//! A release: what is put together in the first environment, and handed on to the others.

use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    pipeline::Handle,
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    store::{RunStore, StoredReleases},
    vocabulary::{Digest, Digester, MigrationVersion, PinnedImage, Release, ReleaseSequence, SchemaRange, ServiceName},
};

use super::{
    backends::Platform,
    options::ENVIRONMENTS,
    pipeline::{BACKEND, NOTIFICATIONS},
};

/// What a release is put together from: two images, and the digests of manifests, site and migrations.
pub type Parts = (PinnedImage, PinnedImage, Digest, Digest, Digest);

/// The release of `parts`. Its source is named by all of its contents: equal releases have equal names.
pub fn assemble(parts: Parts, sequence: ReleaseSequence, schema: MigrationVersion) -> Release {
    let (backend, notifications, manifests, site, migrations) = parts;
    let mut digester = Digester::new();
    for digest in [backend.digest, notifications.digest, manifests, site, migrations] {
        digester.field(digest.as_bytes());
    }
    let mut release = Release::new(sequence, format!("ecolaura-{}", digester.finish().short()));
    let images = [(BACKEND, backend), (NOTIFICATIONS, notifications)];
    release.images =
        images.into_iter().filter_map(|(name, image)| Some((ServiceName::new(name).ok()?, image))).collect();
    release.manifests = Some(manifests);
    release.site = Some(site.to_string());
    release.migrations = Some(migrations);
    release.schema = Some(SchemaRange { min: schema, max: schema });
    release
}

/// Puts the parts together, so that the steps behind it read one release, as those of later environments do.
#[derive(Debug, Clone, Default)]
pub struct AssembleRelease {
    notes: Vec<String>,
}

impl AssembleRelease {
    /// With notes for whoever reads the plan.
    pub fn noting(notes: Vec<String>) -> Self {
        Self { notes }
    }
}

#[async_trait]
impl Step for AssembleRelease {
    type Input = Release;
    type Output = Release;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "assemble release"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, _cx: &Context, release: Planned<Release>) -> Result<StepPlan<Release>> {
        let plan = match release {
            Planned::Known(release) => StepPlan::unchanged(Vec::new(), release),
            Planned::After(_) => StepPlan::gate(None),
        };
        Ok(self.notes.iter().fold(plan, StepPlan::warning))
    }

    async fn apply(&self, cx: &Context, release: Release) -> Result<Applied<Release, NoUndo>> {
        cx.evidence(format!("release {} of {}", release.sequence, release.source), lines(&release));
        Ok(Applied::new(release))
    }
}

/// A release in lines for people.
pub fn lines(release: &Release) -> Vec<String> {
    let mut lines: Vec<String> = release.images.values().map(ToString::to_string).collect();
    let files = [("manifests", release.manifests), ("site", site(release)), ("migrations", release.migrations)];
    lines.extend(files.into_iter().filter_map(|(name, digest)| Some(format!("{name} {}", digest?.short()))));
    lines
}

/// The image of `service` in a release that is known to be whole.
pub fn image(release: &Handle<Release>, service: &'static str) -> Handle<PinnedImage> {
    release.map(move |release| {
        let found = release.images.iter().find(|(name, _)| name.as_str() == service);
        found.map_or_else(|| unreachable!("a release is checked before it is handed on"), |(_, image)| image.clone())
    })
}

/// The digest of a release's site.
pub fn site(release: &Release) -> Option<Digest> {
    Digest::from_str(release.site.as_deref()?).ok()
}

/// The folders of a release's files, as they were kept when it was made. The site's is found when it is published.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub manifests: PathBuf,
    pub migrations: PathBuf,
}

impl Files {
    /// Those of `release`. Fails if one is not there any more, or not whole, or an image is missing.
    pub async fn of(platform: &Platform, release: &Release) -> Result<Self> {
        for service in [BACKEND, NOTIFICATIONS] {
            if !release.images.keys().any(|name| name.as_str() == service) {
                return Err(incomplete(release, &format!("the image of {service}")));
            }
        }
        let find = async |name: &str, digest: Option<Digest>| match digest {
            Some(digest) if platform.kept.holds(&digest).await? => Ok(platform.kept.path(&digest)),
            _ => Err(incomplete(release, &format!("its {name}"))),
        };
        find("site", site(release)).await?;
        Ok(Self {
            manifests: find("manifests", release.manifests).await?,
            migrations: find("migrations", release.migrations).await?,
        })
    }
}

fn incomplete(release: &Release, what: &str) -> Error {
    let message =
        format!("release {} of {}: {what} is not there any more, or was changed", release.sequence, release.source);
    Error::new(ErrorKind::NotFound, "release.files", message).advice("ship to dev again: what is missing is made anew")
}

/// The number of the next release: one above every release that any environment had.
pub async fn next_sequence(store: &dyn RunStore) -> Result<ReleaseSequence> {
    let mut newest = 0;
    for environment in ENVIRONMENTS {
        let releases = StoredReleases::new(store, &environment.parse()?).all().await?;
        newest = releases.iter().map(|(_, release)| release.sequence.0).fold(newest, u64::max);
    }
    Ok(ReleaseSequence(newest + 1))
}

/// The newest version in a folder of migrations, by the numbers at the start of the names.
pub fn newest_migration(folder: &Path) -> Result<MigrationVersion> {
    let failed = |error| Error::io("release.migrations", folder, error);
    let mut newest = MigrationVersion::default();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number: Option<MigrationVersion> =
            name.to_string_lossy().split('_').next().and_then(|digits| digits.parse().ok());
        newest = number.unwrap_or_default().max(newest);
    }
    Ok(newest)
}
