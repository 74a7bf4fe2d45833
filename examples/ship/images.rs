//! What goes into the images of the services.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, Result,
    backend::{ImageEntry, ImageSpec},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    steps::CommandOutput,
    vocabulary::Platform,
};
use ecolaura_deploy_examples::runtime;

/// Collects a compiled service with everything that it loads. It only reads, so a plan knows its answer as soon as the
/// program is there.
#[derive(Debug, Clone)]
pub struct CollectImage {
    program: PathBuf,
    lock_file: PathBuf,
}

impl CollectImage {
    /// For `program`, which was made of the packages in `lock_file`.
    pub fn new(program: PathBuf, lock_file: PathBuf) -> Self {
        Self { program, lock_file }
    }

    async fn spec(&self) -> Result<ImageSpec> {
        let program = self.program.clone();
        let libraries = tokio::task::spawn_blocking(move || runtime::libraries(&program))
            .await
            .map_err(|error| Error::internal("image.collect", "the look-up was lost").with_source(error))??;
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        let inside = format!("/usr/local/bin/{name}");
        Ok(ImageSpec::new(Platform::current())
            .layer(libraries)
            .layer([ImageEntry::new(&self.program, &inside).mode(0o755)])
            .entrypoint([inside])
            .label("org.opencontainers.image.title", name)
            .user("65532:65532")
            .port("8080/tcp")
            .lock_file(&self.lock_file))
    }
}

#[async_trait]
impl Step for CollectImage {
    type Input = CommandOutput;
    type Output = ImageSpec;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "collect image"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, _cx: &Context, compiled: Planned<CommandOutput>) -> Result<StepPlan<ImageSpec>> {
        Ok(match compiled {
            Planned::Known(_) => StepPlan::unchanged(Vec::new(), self.spec().await?),
            Planned::After(_) => StepPlan::gate(None),
        })
    }

    async fn apply(&self, cx: &Context, _compiled: CommandOutput) -> Result<Applied<ImageSpec, NoUndo>> {
        let spec = self.spec().await?;
        let paths: Vec<String> = spec.layers.iter().flatten().map(|entry| entry.destination.clone()).collect();
        cx.evidence(format!("contents of {}", shown(&self.program)), paths);
        Ok(Applied::new(spec))
    }
}

fn shown(program: &Path) -> String {
    program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
