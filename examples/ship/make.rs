//! Making a release, in the first environment: tests, programs, images, a site, and all of it put together.

use std::{path::PathBuf, sync::Arc};

use ecolaura_deploy_core::{
    Result,
    pipeline::{Handle, constant, derive},
    steps::{BuildImage, Command, CommandOutput, KeepFolder, PushImage},
    vocabulary::{PinnedImage, ReleaseSequence},
};

use super::{
    checkout::CheckOut,
    images::CollectImage,
    pipeline::{BACKEND, Incoming, NOTIFICATIONS, Stage, repository},
    release::{AssembleRelease, assemble, newest_migration},
};

/// The step that keeps the migrations of a release.
pub const KEEP_MIGRATIONS: &str = "keep-migrations";

impl Stage<'_> {
    /// Tests the sample, compiles it, makes images and a site of it, and puts a release together.
    pub fn make_release(&mut self, sequence: ReleaseSequence) -> Result<Incoming> {
        self.pipeline.brings(sequence);
        let compiled = self.compile();
        let backend = self.image(BACKEND, &compiled)?;
        let notifications = self.image(NOTIFICATIONS, &compiled)?;
        let site = self.build_site(&compiled);
        let manifests = self.platform.layout.app("manifests");
        let migrations = self.platform.layout.app("migrations");
        let schema = newest_migration(&migrations)?;

        let kept = &self.platform.kept;
        let keep = |name: &str| KeepFolder::new(kept.clone(), name);
        let (keep_site, keep_manifests, keep_migrations) = (keep("site"), keep("manifests"), keep("migrations"));
        let site = self.add("keep-site", keep_site, site);
        let manifest = self.add("keep-manifests", keep_manifests, constant(manifests.clone()));
        let migrations = self.add(KEEP_MIGRATIONS, keep_migrations, constant(migrations));

        let parts = derive((backend, notifications, manifest, site, migrations), move |parts| {
            assemble(parts, sequence, schema)
        });
        let release = self.add("assemble", AssembleRelease::default(), parts);
        Ok(Incoming { release, manifests, tags: false })
    }

    fn compile(&mut self) -> Handle<CommandOutput> {
        let check_out = CheckOut::new(self.platform.layout.app(""), self.source(""));
        let source = self.add("check-out", check_out, constant(()));
        let test = self.cargo(&["test", "--locked"]);
        let tested = self.step("test", test, constant(())).after(&source).add();
        let format = self.cargo(&["fmt", "--all", "--check"]);
        let formatted = self.step("format", format, constant(())).after(&source).add();
        let lint = self.cargo(&["clippy", "--locked", "--all-targets", "--", "-D", "warnings"]);
        let linted = self.step("lint", lint, constant(())).after(&source).add();
        let programs = ["ecolaura-backend", "ecolaura-notifications", "ecolaura-web"].map(|name| self.program(name));
        let build = self.cargo(&["build", "--locked"]).outputs(programs);
        self.step("compile", build, constant(())).after(&tested).after(&formatted).after(&linted).add()
    }

    fn program(&self, name: &str) -> PathBuf {
        self.platform.layout.at("build/debug").join(name)
    }

    fn image(&mut self, service: &str, compiled: &Handle<CommandOutput>) -> Result<Handle<PinnedImage>> {
        let program = self.program(&format!("ecolaura-{service}"));
        let collect = CollectImage::new(program, self.platform.layout.app("Cargo.lock"));
        let contents = self.add(format!("collect-{service}"), collect, compiled.clone());
        let build = BuildImage::new(Arc::clone(&self.platform.builder), service);
        let built = self.add(format!("build-{service}"), build, contents);
        let storage = Arc::clone(&self.platform.storage);
        let declared = storage.declare(self, service, repository(service)?);
        let push = PushImage::new(Arc::clone(&self.platform.registry), repository(service)?).tag(self.tag()?);
        let push = self.step(format!("push-{service}"), push, built);
        Ok(match &declared {
            Some(declared) => push.after(declared).add(),
            None => push.add(),
        })
    }

    fn build_site(&mut self, compiled: &Handle<CommandOutput>) -> Handle<PathBuf> {
        let dist = self.platform.layout.at("build/site");
        let build = Command::new(self.program("ecolaura-web"))
            .args([self.source("web/src"), dist.clone()])
            .inputs([self.platform.layout.app("web/src"), self.platform.layout.app("web/build")])
            .outputs([dist.clone()]);
        self.step("build-site", build, constant(())).after(compiled).add().map(move |_| dist.clone())
    }

    /// `path` in the copy of the sample that is built.
    fn source(&self, path: &str) -> PathBuf {
        self.platform.layout.at("source").join(path)
    }

    /// `cargo` in the copy of the sample, which writes below the folder of this example only.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let app = |path: &str| self.platform.layout.app(path);
        Command::new("cargo")
            .args(arguments)
            .dir(self.source(""))
            .env("CARGO_TARGET_DIR", self.platform.layout.at("build").to_string_lossy())
            .inputs(["Cargo.toml", "Cargo.lock", "VERSION", "services", "web/build", "migrations"].map(app))
            .ignoring(["target"])
    }
}
