//! How a cluster is reached, and as whom.

mod bearer;
mod check;
mod exec;
mod in_cluster;
mod kubeconfig;
mod pem;
mod proxy;
mod surroundings;
#[cfg(test)]
mod tests;
mod token;

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result, Secret, backend::TokenSource};
use http::Uri;
use kube::{
    Config,
    client::ClientBuilder,
    config::{AuthInfo, ExecConfig},
};
use secrecy::ExposeSecret as _;

pub use self::check::Identity;
use self::{bearer::BearerLayer, kubeconfig::Files, surroundings::Surroundings, token::Tokens};
use crate::Connection;

const OPERATION: &str = "cluster.connect";

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(10);

/// Where a cluster is and who asks: a kubeconfig, the pod's own account, or a source of tokens.
///
/// What would let others in is refused unless it is allowed by name: programs that a kubeconfig runs
/// ([`Connect::allow_exec`]), certificates that nobody checks ([`Connect::allow_insecure_tls`]), and servers without
/// TLS ([`Connect::allow_plain_http`]) other than on this machine.
///
/// A server is reached through the kubeconfig's `proxy-url`, else through `HTTPS_PROXY` unless `NO_PROXY` names it.
///
/// ```no_run
/// # async fn example() -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::Context;
/// use ecolaura_deploy_k8s::Connect;
///
/// let cx = Context::new("staging".parse()?);
/// let connection = Connect::kubeconfig("/etc/deploy/kubeconfig").context("staging").connect(&cx).await?;
/// let identity = connection.check(&cx).await?;
/// assert_eq!(identity.user, "system:serviceaccount:ci:deployer");
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "nothing is connected until `connect` is called"]
pub struct Connect {
    source: Source,
    allowed: Allowed,
    connect_timeout: Duration,
    surroundings: Surroundings,
}

#[derive(Clone)]
enum Source {
    Kubeconfig { file: Option<PathBuf>, context: Option<String> },
    InCluster,
    Tokens { server: String, authority: Option<Vec<u8>>, source: Arc<dyn TokenSource> },
}

/// What the caller permits.
#[derive(Debug, Clone, Default)]
struct Allowed {
    commands: BTreeSet<String>,
    insecure_tls: bool,
    plain_http: bool,
}

/// A file with secrets that other accounts of the machine can read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The file.
    pub file: PathBuf,
    /// Its mode.
    pub mode: u32,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        write!(f, "`{file}` holds credentials and can be read by others (mode {:03o}): `chmod 600 {file}`", self.mode)
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Connect");
        match &self.source {
            Source::Kubeconfig { file, context } => debug.field("kubeconfig", file).field("context", context),
            Source::InCluster => debug.field("in_cluster", &true),
            Source::Tokens { source, .. } => debug.field("tokens", source),
        };
        debug.field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

impl Connect {
    /// By the kubeconfig at `file`.
    pub fn kubeconfig(file: impl Into<PathBuf>) -> Self {
        Self::new(Source::Kubeconfig { file: Some(file.into()), context: None })
    }

    /// By the kubeconfig of this process: the files that `KUBECONFIG` names, else `~/.kube/config`.
    pub fn default_kubeconfig() -> Self {
        Self::new(Source::Kubeconfig { file: None, context: None })
    }

    /// As the service account of the pod that this process runs in.
    pub fn in_cluster() -> Self {
        Self::new(Source::InCluster)
    }

    /// To `server` (`https://host:port`) with the tokens of `source`, which are renewed as long as the connection
    /// lives.
    pub fn tokens(server: impl Into<String>, source: Arc<dyn TokenSource>) -> Self {
        Self::new(Source::Tokens { server: server.into(), authority: None, source })
    }

    fn new(source: Source) -> Self {
        let surroundings = Surroundings::of_process();
        Self { source, allowed: Allowed::default(), connect_timeout: CONNECT, surroundings }
    }

    /// With this context of the kubeconfig instead of its current one. Other sources have none.
    pub fn context(mut self, name: impl Into<String>) -> Self {
        if let Source::Kubeconfig { context, .. } = &mut self.source {
            *context = Some(name.into());
        }
        self
    }

    /// Trusting these certificates (PEM) and no others. For [`Connect::tokens`]; a kubeconfig and a pod have their own.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        if let Source::Tokens { authority, .. } = &mut self.source {
            *authority = Some(pem.into());
        }
        self
    }

    /// Allows the kubeconfig to run `command` for a token: the name as it stands in the file, or its whole path. It
    /// runs with all rights of this process.
    pub fn allow_exec(mut self, command: impl Into<String>) -> Self {
        self.allowed.commands.insert(command.into());
        self
    }

    /// Allows `insecure-skip-tls-verify`.
    pub fn allow_insecure_tls(mut self) -> Self {
        self.allowed.insecure_tls = true;
        self
    }

    /// Allows a server without TLS. One on this machine is allowed anyway.
    pub fn allow_plain_http(mut self) -> Self {
        self.allowed.plain_http = true;
        self
    }

    /// How long a connection may take to stand: 10 seconds unless said otherwise.
    pub fn connect_timeout(self, time: Duration) -> Self {
        Self { connect_timeout: time, ..self }
    }

    /// Reads what is needed and makes the connection. The server is not asked yet: see [`Connection::check`].
    ///
    /// Every secret that is read is made known to the redactor of `cx`, renewed tokens too. Files that others can read
    /// are [`Connection::warnings`]. Idempotent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] and [`ErrorKind::InvalidInput`] with the file, the context and the user or cluster that
    /// is wrong; [`ErrorKind::PermissionDenied`] for what must be allowed first.
    pub async fn connect(self, cx: &Context) -> Result<Connection> {
        let (connect, of) = (self.clone(), cx.clone());
        let read = tokio::task::spawn_blocking(move || connect.target(&of)).await;
        let target = read.map_err(|error| Error::internal(OPERATION, error.to_string()))??;
        target.warnings.iter().for_each(|warning| cx.warn(warning.to_string()));
        target.learn(cx);
        let origin = target.origin.clone();
        self.open(cx, target).map_err(|error| error.with("from", origin))
    }

    /// Reads what is needed.
    fn target(&self, cx: &Context) -> Result<Target> {
        match &self.source {
            Source::Kubeconfig { file, context } => {
                let files = match file {
                    Some(file) => Files::one(file)?,
                    None => Files::of(&self.surroundings.kubeconfigs())?,
                };
                files.target(context.as_deref(), &self.allowed, cx)
            }
            Source::InCluster => in_cluster::target(&self.surroundings),
            Source::Tokens { server, authority, source } => Ok(Target {
                authority: authority.clone(),
                tokens: Some(source.clone()),
                ..Target::new("the given server", server.clone())
            }),
        }
    }

    fn open(&self, cx: &Context, target: Target) -> Result<Connection> {
        let server = self.server(&target)?;
        let proxy = target.proxy.clone().or_else(|| proxy::of(&self.surroundings, &server));
        let mut config = Config::new(server.clone());
        config.proxy_url = proxy.as_deref().map(proxy_address).transpose()?;
        config.default_namespace = target.namespace;
        config.root_cert = target.authority.as_deref().map(pem::authority).transpose()?;
        config.root_cert_file = target.authority_file;
        config.accept_invalid_certs = target.insecure;
        config.tls_server_name = target.server_name;
        config.auth_info = target.who;
        config.connect_timeout = Some(self.connect_timeout);
        config.default_retry = false;
        install_cryptography();
        let builder = ClientBuilder::try_from(config)
            .map_err(|error| Error::invalid(OPERATION, format!("the credentials cannot be used: {error}")))?;
        let client = match target.tokens {
            Some(source) => {
                let tokens = Tokens::new(source, cx.redactor().clone());
                builder.with_layer(&BearerLayer(Arc::new(tokens))).build()
            }
            None => builder.build(),
        };
        Ok(Connection::new(client, server.to_string().trim_end_matches('/')).with_warnings(target.warnings))
    }

    /// The server's address, if it may be asked in that way.
    fn server(&self, target: &Target) -> Result<Uri> {
        let said = &target.server;
        let server: Uri = said.parse().map_err(|_| {
            Error::invalid(OPERATION, "the server's address is not one").advice("write `https://host:port`")
        })?;
        let secret = server.authority().is_some_and(|authority| authority.as_str().contains('@'));
        match server.scheme_str() {
            _ if secret => Err(Error::invalid(OPERATION, "the server's address has a user or a password in it")
                .advice("take it out, and give a token or a client certificate")),
            _ if server.host().is_none_or(str::is_empty) => {
                Err(Error::invalid(OPERATION, format!("`{said}` has no host")).advice("write `https://host:port`"))
            }
            Some("https") => Ok(server),
            Some("http") if self.allowed.plain_http || proxy::is_loopback(&server) => Ok(server),
            Some("http") => {
                let message = format!("`{said}` has no TLS: anybody on the way could read the credentials");
                Err(Error::new(ErrorKind::PermissionDenied, OPERATION, message)
                    .advice("use https; or allow it by `Connect::allow_plain_http`"))
            }
            _ => Err(Error::invalid(OPERATION, format!("`{said}` is neither https nor http"))
                .advice("write `https://host:port`")),
        }
    }
}

impl Allowed {
    /// Whether `exec` of `file` may run.
    fn exec(&self, exec: &ExecConfig, file: &Path) -> Result<()> {
        let command = exec.command.as_deref().unwrap_or_default();
        if command.is_empty() {
            return Err(Error::invalid(OPERATION, "`exec` names no command"));
        }
        if self.commands.contains(command) {
            return Ok(());
        }
        let message =
            format!("the user's token comes from a program, `{command}`, that would run with all your rights");
        Err(Error::new(ErrorKind::PermissionDenied, OPERATION, message)
            .with("defined in", file.display())
            .advice(format!("read the file, and allow it by `Connect::allow_exec(\"{command}\")`")))
    }
}

/// One server, and who asks it.
#[derive(Default)]
struct Target {
    /// For errors: ``context `dev` of `kubeconfig` ``.
    origin: String,
    server: String,
    namespace: String,
    authority: Option<Vec<u8>>,
    /// Where it is read from again, because it changes.
    authority_file: Option<PathBuf>,
    server_name: Option<String>,
    insecure: bool,
    proxy: Option<String>,
    who: AuthInfo,
    tokens: Option<Arc<dyn TokenSource>>,
    warnings: Vec<Warning>,
}

impl Target {
    fn new(origin: impl Into<String>, server: String) -> Self {
        Self { origin: origin.into(), server, namespace: "default".to_owned(), ..Self::default() }
    }

    /// Makes its secrets known to the redactor.
    fn learn(&self, cx: &Context) {
        let inline = [&self.who.token, &self.who.password, &self.who.client_key_data];
        let inline = inline.into_iter().flatten().map(|secret| secret.expose_secret().to_owned());
        for secret in
            inline.chain(self.proxy.clone()).chain([self.server.clone()].into_iter().filter(|text| text.contains('@')))
        {
            cx.redactor().register(&Secret::new(secret));
        }
    }
}

fn proxy_address(proxy: &str) -> Result<Uri> {
    let address: Uri = proxy.parse().map_err(|_| {
        Error::invalid(OPERATION, "the proxy's address is not one")
            .advice("write `http://host:port` as `proxy-url` or HTTPS_PROXY")
    })?;
    match address.scheme_str() {
        Some("http" | "https") => Ok(address),
        scheme => {
            let message = format!("proxies of the kind `{}` are not supported", scheme.unwrap_or_default());
            Err(Error::new(ErrorKind::Unsupported, OPERATION, message).advice("write `http://host:port`"))
        }
    }
}

/// `kube` takes the provider of cryptography from the process, and panics where two are compiled in and none was
/// chosen. One that the program chose is left.
fn install_cryptography() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, which is just as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}
