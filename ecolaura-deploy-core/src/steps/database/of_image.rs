//! Backup and migration by what is in an image, which may be built in the same run.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{BackupDatabase, Migrate, RevertSchema, Safeguard, SchemaUndo};
use crate::{
    Admitted, Context, Result,
    backend::{BackupLevel, ImageMigrator, MigrationReport},
    plan::{Action, Change, World},
    step::{Applied, EffectClass, NoUndo, Planned, Probed, Step, StepPlan, UndoData, Undoer},
    vocabulary::PinnedImage,
};

/// [`BackupDatabase`] before [`MigrateOf`]. While the image is not known, a backup is planned.
#[derive(Debug, Clone)]
pub struct BackupDatabaseOf {
    source: Arc<dyn ImageMigrator>,
    level: BackupLevel,
}

impl BackupDatabaseOf {
    /// Backs up through the migrator that is in the image, proven to `level`.
    pub fn new(source: Arc<dyn ImageMigrator>, level: BackupLevel) -> Self {
        Self { source, level }
    }

    fn of(&self, image: &PinnedImage) -> BackupDatabase {
        BackupDatabase::new(self.source.of(image), self.level)
    }
}

#[async_trait]
impl Step for BackupDatabaseOf {
    type Input = Admitted<PinnedImage>;
    type Output = Safeguard;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "back up database"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Keyed
    }

    async fn plan(&self, cx: &Context, image: Planned<Admitted<PinnedImage>>) -> Result<StepPlan<Safeguard>> {
        match image {
            Planned::Known(image) => self.of(image.subject()).plan(cx, Planned::Known(())).await,
            Planned::After(step) => {
                let reason = format!("before a migration; image known after `{step}`");
                let object = format!("{} backup", self.source.name());
                Ok(StepPlan::changing(vec![Change::new(World::Database, object, Action::Create, reason)]))
            }
        }
    }

    async fn apply(&self, cx: &Context, image: Admitted<PinnedImage>) -> Result<Applied<Safeguard, NoUndo>> {
        self.of(image.subject()).apply(cx, ()).await
    }
}

/// [`SchemaUndo`], and the image that knows the way down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSchemaUndo {
    image: PinnedImage,
    schema: SchemaUndo,
}

impl UndoData for ImageSchemaUndo {
    const KIND: &'static str = "database schema by image";
}

#[derive(Debug)]
struct RevertByImage(Arc<dyn ImageMigrator>);

#[async_trait]
impl Undoer<ImageSchemaUndo> for RevertByImage {
    fn target(&self) -> String {
        self.0.name().to_string()
    }

    fn describe(&self, undo: &ImageSchemaUndo) -> String {
        format!("{}, by {}", RevertSchema(self.0.of(&undo.image)).describe(&undo.schema), undo.image)
    }

    async fn undo(&self, cx: &Context, undo: ImageSchemaUndo) -> Result<()> {
        RevertSchema(self.0.of(&undo.image)).undo(cx, undo.schema).await
    }
}

/// [`Migrate`] by the migrations that are in an image. Undone by that image, which knows the way down.
#[derive(Debug, Clone)]
pub struct MigrateOf {
    source: Arc<dyn ImageMigrator>,
}

impl MigrateOf {
    /// Migrates through the migrator that is in the image.
    pub fn new(source: Arc<dyn ImageMigrator>) -> Self {
        Self { source }
    }

    fn of(&self, image: &PinnedImage) -> Migrate {
        Migrate::new(self.source.of(image))
    }
}

#[async_trait]
impl Step for MigrateOf {
    type Input = (Safeguard, Admitted<PinnedImage>);
    type Output = MigrationReport;
    type Undo = ImageSchemaUndo;

    fn kind(&self) -> &'static str {
        "migrate database"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Transactional
    }

    async fn plan(
        &self,
        cx: &Context,
        (safeguard, image): (Planned<Safeguard>, Planned<Admitted<PinnedImage>>),
    ) -> Result<StepPlan<MigrationReport>> {
        match image {
            Planned::Known(image) => self.of(image.subject()).plan(cx, safeguard).await,
            Planned::After(step) => {
                let reason = format!("migrations known after `{step}`");
                let object = format!("{} schema", self.source.name());
                Ok(StepPlan::changing(vec![Change::new(World::Database, object, Action::Update, reason)]))
            }
        }
    }

    async fn prepare(
        &self,
        cx: &Context,
        (safeguard, image): &(Safeguard, Admitted<PinnedImage>),
    ) -> Result<Option<ImageSchemaUndo>> {
        let image = image.subject().clone();
        let schema = self.of(&image).prepare(cx, safeguard).await?;
        Ok(schema.map(|schema| ImageSchemaUndo { image, schema }))
    }

    async fn apply(
        &self,
        cx: &Context,
        (_, image): (Safeguard, Admitted<PinnedImage>),
    ) -> Result<Applied<MigrationReport, ImageSchemaUndo>> {
        let prior = cx.prior::<ImageSchemaUndo>().map(|prior| prior.schema);
        self.of(image.subject()).migrate(cx, prior).await.map(Applied::new)
    }

    async fn probe(
        &self,
        cx: &Context,
        (_, image): (Safeguard, Admitted<PinnedImage>),
    ) -> Result<Probed<MigrationReport>> {
        let prior = cx.prior::<ImageSchemaUndo>().map(|prior| prior.schema);
        self.of(image.subject()).look(cx, prior).await
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<ImageSchemaUndo>>> {
        Some(Arc::new(RevertByImage(Arc::clone(&self.source))))
    }
}

#[cfg(feature = "test-util")]
#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use super::*;
    use crate::{
        backend::Migrator,
        testing::fake::migrator::FakeMigrator,
        vocabulary::{Digest, MigrationVersion, Name},
    };

    /// One database, and the migrations that each image brings.
    #[derive(Debug)]
    struct Images {
        database: Arc<FakeMigrator>,
        files: BTreeMap<PinnedImage, Vec<(&'static str, &'static str)>>,
        asked: Mutex<Vec<PinnedImage>>,
    }

    impl ImageMigrator for Images {
        fn name(&self) -> &Name {
            self.database.name()
        }

        fn of(&self, image: &PinnedImage) -> Arc<dyn Migrator> {
            self.asked.lock().unwrap().push(image.clone());
            for (file, sql) in &self.files[image] {
                self.database.put_file(*file, *sql);
            }
            Arc::<FakeMigrator>::clone(&self.database)
        }
    }

    fn image(text: &str) -> PinnedImage {
        PinnedImage::new("shop/backend".parse().unwrap(), Digest::of(text))
    }

    fn source() -> Arc<Images> {
        let files = vec![
            ("1_plants.up.sql", "CREATE TABLE plants (id INTEGER);\n"),
            ("1_plants.down.sql", "DROP TABLE plants;\n"),
        ];
        Arc::new(Images {
            database: Arc::new(FakeMigrator::new("shop".parse().unwrap())),
            files: [(image("new"), files)].into(),
            asked: Mutex::default(),
        })
    }

    fn cx() -> Context {
        Context::new("dev".parse().unwrap())
    }

    #[tokio::test]
    async fn what_an_image_brings_is_not_asked_before_it_is_there() {
        let images = source();
        let after = || Planned::After("push".to_owned());
        let step = MigrateOf::new(Arc::<Images>::clone(&images));
        let plan = step.plan(&cx(), (Planned::Known(Safeguard(None)), after())).await.unwrap();
        assert_eq!(plan.changes[0].reason, "migrations known after `push`");
        let backup = BackupDatabaseOf::new(Arc::<Images>::clone(&images), BackupLevel::Exists);
        let plan = backup.plan(&cx(), after()).await.unwrap();
        assert!(plan.changes[0].reason.contains("known after `push`"), "{plan:?}");
        assert!(images.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_image_that_went_up_goes_down() {
        let (images, cx) = (source(), cx());
        let admitted = Admitted::by_gate("scan", image("new"));
        let backup = BackupDatabaseOf::new(Arc::<Images>::clone(&images), BackupLevel::Exists);
        let safeguard = backup.apply(&cx, admitted.clone()).await.unwrap().output;
        assert!(safeguard.0.is_some());
        let step = MigrateOf::new(Arc::<Images>::clone(&images));
        let input = (safeguard, admitted);
        let undo = step.prepare(&cx, &input).await.unwrap().unwrap();
        let report = step.apply(&cx, input.clone()).await.unwrap().output;
        assert_eq!((report.from, report.to), (MigrationVersion(0), MigrationVersion(1)));
        assert!(matches!(step.probe(&cx, input).await.unwrap(), Probed::Done(_)));
        images.asked.lock().unwrap().clear();
        let undoer = step.undoer().unwrap();
        assert!(
            undoer.describe(&undo).contains("revert the schema of shop to 0")
                && undoer.describe(&undo).contains("shop/backend@")
        );
        undoer.undo(&cx, undo).await.unwrap();
        assert_eq!(images.database.plan(&cx).await.unwrap().head(), MigrationVersion(0));
        assert!(images.asked.lock().unwrap().iter().all(|asked| *asked == image("new")));
    }
}
