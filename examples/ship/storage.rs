//! Where a platform keeps what does not run: images, records, sites, secrets. Below one folder, or in an account of AWS.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, Result,
    analysis::scan::SeverityPolicy,
    backend::{CdnPublisher, ImageScanner, Inspect, Registry, SecretStore, Severity},
    local::{
        cdn::DirectoryCdn,
        registry::LayoutRegistry,
        scan::{ContentScanner, ScanPolicy},
        secrets::FileSecrets,
    },
    pipeline::Handle,
    store::{ObjectRunStore, RunStore},
    vocabulary::{Digest, EnvironmentName, Repository},
};

use super::{layout::Layout, options::Options, pipeline::Stage};

/// The secret that the backend's administrators know.
const TOKEN: &str = "api-token";

/// Something that a backend keeps, and the same where it may have left something over.
pub type Looked<T> = (Arc<T>, Vec<Arc<dyn Inspect>>);

/// The rooms of a platform. All of them are opened without touching anything.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync {
    /// The registry; `near` is one that only this platform has.
    async fn registry(&self, cx: &Context, near: Arc<dyn Registry>) -> Result<Arc<dyn Registry>>;

    /// The host of the registry, where nodes pull, unless it is the near one.
    #[cfg(feature = "k8s")]
    fn registry_host(&self) -> Option<String>;

    /// What looks for weaknesses in images of `registry`, and what it lets pass.
    fn scanner(&self, registry: &Arc<dyn Registry>) -> Result<(Arc<dyn ImageScanner>, SeverityPolicy)>;

    /// The records of runs.
    async fn records(&self, cx: &Context) -> Result<Looked<dyn RunStore>>;

    /// The site of `environment`.
    fn site(&self, environment: &EnvironmentName) -> Result<Looked<dyn CdnPublisher>>;

    /// Where people see the site of `environment`, if somebody else serves it.
    fn site_address(&self, environment: &EnvironmentName) -> Option<String>;

    /// Whether a site's headers are sent with its files; else whoever shows it sends its own.
    fn sends_headers(&self) -> bool {
        true
    }

    /// The secrets of `environment`, and the name of the administrators' token among them.
    fn secrets(&self, environment: &EnvironmentName) -> Result<(Arc<dyn SecretStore>, String)>;

    /// The cluster that runs the services, if it is there.
    #[cfg(feature = "k8s")]
    async fn cluster(&self, _cx: &Context) -> Result<Option<ecolaura_deploy_k8s::Connect>> {
        Ok(None)
    }

    /// Makes what a platform of one's own begins with, and an operator makes elsewhere.
    fn furnish(&self, environment: &EnvironmentName) -> Result<()>;

    /// Refuses to begin if who we are may not do all that a release to `environments` takes. Only reads.
    async fn allowed(&self, _cx: &Context, _environments: &[EnvironmentName]) -> Result<()> {
        Ok(())
    }

    /// Refuses what could not work, before anything of `environment` is changed. Only reads.
    async fn check(&self, cx: &Context, environment: &EnvironmentName) -> Result<()>;

    /// The step that makes sure of `repository`, if one has to be made.
    fn declare(&self, stage: &mut Stage<'_>, service: &str, repository: Repository) -> Option<Handle<String>>;
}

/// Opens what `options` say.
#[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "an account is waited for"))]
pub async fn open(cx: &Context, layout: &Layout, options: &Options) -> Result<Arc<dyn Storage>> {
    match &options.aws {
        None => Ok(Arc::new(Folder(layout.clone()))),
        #[cfg(feature = "aws")]
        Some(file) => Ok(Arc::new(super::aws::Aws::open(cx, file).await?)),
        #[cfg(not(feature = "aws"))]
        Some(_) => Err(without_aws()),
    }
}

/// What is asked of an account alone: making what a platform needs there, or telling what it must be allowed. What is to
/// be printed, if it was that.
#[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "an account is waited for"))]
pub async fn only(cx: &Context, options: &Options) -> Result<Option<Vec<String>>> {
    let Some(file) = &options.aws else { return Ok(None) };
    #[cfg(not(feature = "aws"))]
    return Err(without_aws()).inspect_err(|_: &Error| _ = file);
    #[cfg(feature = "aws")]
    {
        use super::aws::{Aws, calls, prepare};
        if let Some(calls) = &options.calls {
            calls::write_to(calls)?;
        }
        if options.prepare {
            return prepare::all(cx, file).await.map(Some);
        }
        match options.policy {
            true => Ok(Some(vec![Aws::open(cx, file).await?.document(&options.environments()?)?])),
            false => Ok(None),
        }
    }
}

/// What to type for a program that knows AWS.
#[cfg(not(feature = "aws"))]
fn without_aws() -> Error {
    Error::invalid("ship.options", "--aws needs a `ship` with AWS in it")
        .advice("compile it with: cargo run --features aws --example ship -- …")
}

/// Everything below one folder.
#[derive(Debug)]
struct Folder(Layout);

#[async_trait]
impl Storage for Folder {
    async fn registry(&self, _cx: &Context, near: Arc<dyn Registry>) -> Result<Arc<dyn Registry>> {
        Ok(near)
    }

    #[cfg(feature = "k8s")]
    fn registry_host(&self) -> Option<String> {
        None
    }

    fn scanner(&self, registry: &Arc<dyn Registry>) -> Result<(Arc<dyn ImageScanner>, SeverityPolicy)> {
        let advisories = ScanPolicy::new(self.0.app("advisories"));
        let scanner = ContentScanner::new(Arc::clone(registry), advisories);
        Ok((Arc::new(scanner), SeverityPolicy::new(Severity::High)))
    }

    async fn records(&self, _cx: &Context) -> Result<Looked<dyn RunStore>> {
        let store = Arc::new(ObjectRunStore::local(self.0.at("records"))?);
        Ok((store.clone(), vec![store]))
    }

    fn site(&self, environment: &EnvironmentName) -> Result<Looked<dyn CdnPublisher>> {
        let name = format!("{environment}-site").parse()?;
        let site = Arc::new(DirectoryCdn::new(self.0.of(environment, "site"), name));
        Ok((site.clone(), vec![site]))
    }

    fn site_address(&self, _environment: &EnvironmentName) -> Option<String> {
        None
    }

    fn secrets(&self, environment: &EnvironmentName) -> Result<(Arc<dyn SecretStore>, String)> {
        let name = format!("{environment}-secrets").parse()?;
        let secrets = FileSecrets::new(name, self.0.of(environment, "secrets"));
        Ok((Arc::new(secrets), TOKEN.to_owned()))
    }

    /// Makes a token where there is none.
    fn furnish(&self, environment: &EnvironmentName) -> Result<()> {
        let path = self.0.of(environment, "secrets").join(TOKEN);
        if path.exists() {
            return Ok(());
        }
        let failed = |error| Error::io("ship.secrets", &path, error);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        let token = new_token().map_err(failed)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(token.as_bytes()).map_err(failed)
    }

    async fn check(&self, _cx: &Context, _environment: &EnvironmentName) -> Result<()> {
        Ok(())
    }

    fn declare(&self, _stage: &mut Stage<'_>, _service: &str, _repository: Repository) -> Option<Handle<String>> {
        None
    }
}

/// What nobody guesses.
pub fn new_token() -> std::io::Result<String> {
    let mut random = [0; 24];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(Digest::of(random).to_hex())
}

/// Images on this machine.
pub fn on_disk(layout: &Layout) -> Result<Looked<dyn Registry>> {
    let images = Arc::new(LayoutRegistry::new(layout.at("registry"), "registry".parse()?));
    Ok((images.clone(), vec![images]))
}
