//! A pipeline against `mockall` mocks: what a test of your own composition looks like. The scanner finds something, so
//! a gate behind it would refuse the image.
//!
//! `cargo run --features mock --example mock_backends`

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Result,
    backend::{Finding, MockImageScanner, MockRegistry, RegistryCapabilities, ScanOutcome, ScanReport, Severity},
    pipeline::{Pipeline, constant},
    run::{RunResult, Runner},
    steps::{PushImage, check},
    store::ObjectRunStore,
    vocabulary::{BuiltImage, Digest, Name, PinnedImage, Platform},
};
use ecolaura_deploy_examples::place::block_on;

fn registry(name: Name) -> MockRegistry {
    let mut registry = MockRegistry::new();
    registry.expect_name().return_const(name);
    registry.expect_capabilities().returning(RegistryCapabilities::new);
    registry.expect_contains().returning(|_, _| Ok(false));
    registry
        .expect_push()
        .times(1)
        .returning(|_, image, repository| Ok(PinnedImage::new(repository.clone(), image.digest)));
    registry
}

fn scanner() -> MockImageScanner {
    let mut scanner = MockImageScanner::new();
    scanner.expect_scan().times(1).returning(|_, image| {
        let findings = vec![Finding::new("ECO-1", Severity::High, "old-tls 0.1.0", "keys can be guessed")];
        Ok(ScanReport::new(image.clone(), ScanOutcome::Findings { findings }, 12, "today"))
    });
    scanner
}

fn main() -> ExitCode {
    block_on("mock_backends", example())
}

async fn example() -> Result<ExitCode> {
    let built = BuiltImage::new("layout", Digest::of("image"), Platform::current(), 1);
    let scanner = Arc::new(scanner());
    let mut pipeline = Pipeline::new("mocks".parse()?, "dev".parse()?);
    let push = PushImage::new(Arc::new(registry("mock".parse()?)), "ecolaura/backend".parse()?);
    let pushed = pipeline.add("push", push, constant(built));
    let scan = move |cx: Context, image: PinnedImage| {
        let scanner = Arc::clone(&scanner);
        async move { ecolaura_deploy_core::backend::ImageScanner::scan(&*scanner, &cx, &image).await }
    };
    let report = pipeline.add("scan", check("scan", scan), pushed);

    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let cx = Context::new("dev".parse()?);
    let plan = runner.plan(&cx, pipeline).await?;
    let finished = runner.run(&cx, plan).await?;
    assert_eq!(finished.result, RunResult::Succeeded);
    #[expect(clippy::print_stdout, reason = "an example shows what it got")]
    {
        println!("{:#?}", finished.output(&report));
    }
    Ok(ExitCode::SUCCESS)
}
