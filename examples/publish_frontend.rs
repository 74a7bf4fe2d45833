//! Publishes a static site: assets first, pages last, only what changed is sent and invalidated. To a directory, or to a
//! bucket of S3 that `CloudFront` shows. Run it twice: the second time nothing is done.
//!
//! `cargo run --example publish_frontend`
//! `cargo run --features aws --example publish_frontend -- --react --s3 BUCKET --cloudfront ID`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use ecolaura_deploy_core::{
    Context, Error, Result,
    backend::CdnPublisher,
    cdn::{CacheRule, SiteSource},
    local::cdn::DirectoryCdn,
    pipeline::{Pipeline, constant},
    steps::{Command, PublishFolder, PublishSite, SiteFiles},
    store::ObjectRunStore,
    vocabulary::CacheControl,
};
use ecolaura_deploy_examples::{exit_code, place::block_on, plan_and_run, runner, scratch};

/// Publishes a static site, of one page unless another is named.
#[derive(Debug, Parser)]
#[command(name = "publish_frontend")]
struct Options {
    /// Publish this folder
    folder: Option<PathBuf>,

    /// Publish the React site beside this example, built by `npm ci` and `npm run build`
    #[arg(long, conflicts_with = "folder")]
    react: bool,

    /// Publish to this bucket of S3 (needs the feature `aws`)
    #[arg(long, value_name = "BUCKET")]
    s3: Option<String>,

    /// With --s3: what people see comes from this distribution of `CloudFront`
    #[arg(long, value_name = "ID", requires = "s3")]
    cloudfront: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    block_on("publish_frontend", async {
        let cx = Context::new("dev".parse()?);
        let dir = scratch("publish_frontend");
        let cdn = publisher(&cx, &options, &dir).await?;

        let mut pipeline = Pipeline::new("frontend".parse()?, "dev".parse()?);
        if options.react {
            let dist = dir.join("react");
            let [install, build] = react(&dist);
            let installed = pipeline.add("install", install, constant(()));
            let built = pipeline.step("build site", build, constant(())).after(&installed).add();
            // Vite puts nothing there but what it has named by its content; not every such name can be told from a word.
            let source = SiteSource::new(&dist).cache(CacheRule::new("assets/**", CacheControl::Immutable));
            let publish = PublishFolder::new(cdn, source);
            pipeline.add("publish site", publish, (built.map(move |_| dist.clone()), constant(SiteFiles::default())));
        } else {
            let folder = options.folder.clone().map_or_else(|| sample(&dir.join("source")), Ok)?;
            // The next run reads only the files that have changed.
            let source = SiteSource::new(folder).remember(dir.join("digests.json"));
            pipeline.add("publish site", PublishSite::new(cdn, source), constant(()));
        }

        let runner = runner(Arc::new(ObjectRunStore::local(dir.join("records"))?));
        let finished = plan_and_run(&cx, &runner, pipeline).await?;
        Ok(exit_code(&finished.result))
    })
}

/// Where the site goes; what could not work there is refused before anything is done.
#[cfg(feature = "aws")]
async fn publisher(cx: &Context, options: &Options, dir: &Path) -> Result<Arc<dyn CdnPublisher>> {
    let Some(bucket) = &options.s3 else { return directory(dir) };
    let account = ecolaura_deploy_examples::aws::connect(cx, None).await?;
    let mut cdn = ecolaura_deploy_aws::S3Cdn::new("site".parse()?, account, bucket).prefix("site");
    if let Some(id) = &options.cloudfront {
        cdn = cdn.distribution(id);
    }
    cdn.check(cx).await?.refuse(cx)?;
    Ok(Arc::new(cdn))
}

#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "an account is waited for")]
async fn publisher(_cx: &Context, options: &Options, dir: &Path) -> Result<Arc<dyn CdnPublisher>> {
    match options.s3 {
        None => directory(dir),
        Some(_) => Err(ecolaura_deploy_examples::place::without("aws", "--s3", "publish_frontend")),
    }
}

fn directory(dir: &Path) -> Result<Arc<dyn CdnPublisher>> {
    Ok(Arc::new(DirectoryCdn::new(dir.join("site"), "site".parse()?)))
}

/// Installs what the lock file says and nothing else, and builds the site into `dist`.
fn react(dist: &Path) -> [Command; 2] {
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("frontend");
    let of = |path: &str| app.join(path);
    let install = Command::new("npm")
        .args(["ci"])
        .dir(&app)
        .inputs([of("package.json"), of("package-lock.json"), of(".npmrc")])
        .outputs([of("node_modules/.package-lock.json")]);
    let to = dist.to_string_lossy().into_owned();
    let build = Command::new("npm")
        .args(["run", "build", "--", "--emptyOutDir", "--outDir", &to])
        .dir(&app)
        .inputs(["index.html", "package-lock.json", "public", "src", "vite.config.js"].map(of))
        .outputs([dist]);
    [install, build]
}

/// A site of one page and one asset.
fn sample(dir: &Path) -> Result<PathBuf> {
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(dir))
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| Error::io("example.sample", &path, error))
    };
    write("assets/app.5f2c9a1e.js", "console.log('hello')")?;
    write("index.html", "<!doctype html><script type=module src=/assets/app.5f2c9a1e.js></script><h1>Plants</h1>")?;
    Ok(dir.to_owned())
}
