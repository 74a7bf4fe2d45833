//! Kubeconfig files: which context of them, and what it is made of.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ecolaura_deploy_core::{Context, Error, ErrorKind, Result, backend::TokenSource};
use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};
use secrecy::ExposeSecret;

use super::{Allowed, OPERATION, Target, Warning, exec::Plugin, pem, token::TokenFile};

/// Files in the order of their precedence: the first that has a name wins.
#[derive(Debug)]
pub(super) struct Files(Vec<(PathBuf, Kubeconfig)>);

impl Files {
    /// The file at `path`.
    pub(super) fn one(path: &Path) -> Result<Self> {
        Ok(Self(vec![(path.to_owned(), read(path)?)]))
    }

    /// Those of `paths` that exist.
    pub(super) fn of(paths: &[PathBuf]) -> Result<Self> {
        let there = paths.iter().filter(|path| path.exists());
        let files: Vec<_> = there.map(|path| Ok((path.clone(), read(path)?))).collect::<Result<_>>()?;
        if files.is_empty() {
            let looked: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
            let place =
                if looked.is_empty() { "neither KUBECONFIG nor HOME is set".to_owned() } else { looked.join(", ") };
            return Err(Error::new(ErrorKind::NotFound, OPERATION, format!("there is no kubeconfig: {place}"))
                .advice("name the file, or set KUBECONFIG"));
        }
        Ok(Self(files))
    }

    /// The context called `name`, or the current one.
    pub(super) fn target(&self, name: Option<&str>, allowed: &Allowed, cx: &Context) -> Result<Target> {
        let current = || self.0.iter().find_map(|(_, file)| file.current_context.as_deref());
        let Some(name) = name.or_else(current).filter(|name| !name.is_empty()) else {
            let message = "the kubeconfig has no current context";
            return Err(self.error(message).advice(format!("name one; {}", self.contexts())));
        };
        let (path, context) = self
            .find(|file| Some(file.contexts.iter().find(|named| named.name == name)?.context.clone()))
            .ok_or_else(|| self.error(format!("there is no context `{name}`")).advice(self.contexts()))?;
        let here = |error: Error| error.with("file", path.display()).with("context", name);
        let context = context.ok_or_else(|| here(Error::invalid(OPERATION, "the context is empty")))?;
        let cluster = self.cluster(&context.cluster).map_err(|error| here(error).with("cluster", &context.cluster))?;
        let target = Target {
            namespace: context.namespace.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned()),
            ..cluster
                .target(format!("context `{name}` of `{}`", path.display()), allowed)
                .map_err(|error| here(error).with("cluster", &context.cluster))?
        };
        let Some(user) = context.user.filter(|user| !user.is_empty()) else { return Ok(target) };
        self.user(&user)
            .and_then(|found| found.join(target, &cluster, allowed, cx))
            .map_err(|error| here(error).with("user", user))
    }

    /// What `pick` finds in the first file that has it.
    fn find<T>(&self, pick: impl Fn(&Kubeconfig) -> Option<T>) -> Option<(&Path, T)> {
        self.0.iter().find_map(|(path, file)| Some((path.as_path(), pick(file)?)))
    }

    fn cluster(&self, name: &str) -> Result<FoundCluster<'_>> {
        let found = self.find(|file| Some(file.clusters.iter().find(|named| named.name == name)?.cluster.clone()));
        let (file, cluster) =
            found.ok_or_else(|| Error::invalid(OPERATION, "the context names a cluster that is not there"))?;
        Ok(FoundCluster { file, cluster: cluster.unwrap_or_default() })
    }

    fn user(&self, name: &str) -> Result<FoundUser<'_>> {
        let found = self.find(|file| Some(file.auth_infos.iter().find(|named| named.name == name)?.auth_info.clone()));
        let (file, user) =
            found.ok_or_else(|| Error::invalid(OPERATION, "the context names a user that is not there"))?;
        Ok(FoundUser { file, user: user.unwrap_or_default() })
    }

    fn error(&self, message: impl Into<String>) -> Error {
        let files: Vec<String> = self.0.iter().map(|(path, _)| path.display().to_string()).collect();
        Error::invalid(OPERATION, message).with("file", files.join(", "))
    }

    /// `there are: dev, production`
    fn contexts(&self) -> String {
        let names: Vec<&str> =
            self.0.iter().flat_map(|(_, file)| &file.contexts).map(|named| named.name.as_str()).collect();
        match names.as_slice() {
            [] => "the file has no contexts".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        }
    }
}

/// The file at `path`. What a parser says is not shown: it quotes the line that it stumbled over.
fn read(path: &Path) -> Result<Kubeconfig> {
    Kubeconfig::read_from(path).map_err(|error| match error {
        KubeconfigError::ReadConfig(error, path) => Error::io(OPERATION, path, error).advice("name another kubeconfig"),
        KubeconfigError::Parse(error) => {
            let error = match error.location() {
                Some(at) => Error::invalid(OPERATION, "the file is no kubeconfig in YAML or JSON")
                    .with("line", at.line())
                    .with("column", at.column()),
                None => Error::invalid(OPERATION, "the file is no kubeconfig in YAML or JSON"),
            };
            error.with("file", path.display())
        }
        error => Error::invalid(OPERATION, error.to_string()).with("file", path.display()),
    })
}

struct FoundCluster<'a> {
    file: &'a Path,
    cluster: Cluster,
}

impl FoundCluster<'_> {
    fn target(&self, origin: String, allowed: &Allowed) -> Result<Target> {
        let cluster = &self.cluster;
        let server = cluster.server.clone().filter(|server| !server.is_empty());
        let server = server.ok_or_else(|| Error::invalid(OPERATION, "the cluster has no `server`"))?;
        let insecure = cluster.insecure_skip_tls_verify == Some(true);
        if insecure && !allowed.insecure_tls {
            let message =
                "`insecure-skip-tls-verify` would let anybody between here and the server read the credentials";
            return Err(Error::new(ErrorKind::PermissionDenied, OPERATION, message)
                .with("defined in", self.file.display())
                .advice("give `certificate-authority` instead; or allow it by `Connect::allow_insecure_tls`"));
        }
        Ok(Target {
            authority: data(
                "certificate-authority",
                cluster.certificate_authority_data.as_deref(),
                cluster.certificate_authority.as_deref(),
            )?,
            insecure,
            server_name: cluster.tls_server_name.clone(),
            proxy: cluster.proxy_url.clone().filter(|proxy| !proxy.is_empty()),
            ..Target::new(origin, server)
        })
    }
}

struct FoundUser<'a> {
    file: &'a Path,
    user: AuthInfo,
}

impl FoundUser<'_> {
    /// `target` with the credentials of this user.
    fn join(self, target: Target, cluster: &FoundCluster<'_>, allowed: &Allowed, cx: &Context) -> Result<Target> {
        if self.user.auth_provider.is_some() {
            let message = "`auth-provider` was taken out of Kubernetes 1.26, and ran programs unasked before";
            return Err(Error::new(ErrorKind::Unsupported, OPERATION, message)
                .with("defined in", self.file.display())
                .advice("use a token, a client certificate or an `exec` plugin"));
        }
        let warnings = self.warnings();
        let mut user = self.user;
        let plugin = match user.exec.take() {
            Some(exec) => {
                allowed.exec(&exec, self.file)?;
                let cluster = (&cluster.cluster).try_into().ok();
                Some(Arc::new(Plugin::new(exec, cluster, cx)?))
            }
            None => None,
        };
        let file = user.token_file.take();
        let tokens: Option<Arc<dyn TokenSource>> = match (user.token.is_some(), file, plugin) {
            (true, _, _) => None,
            (_, Some(file), _) => Some(Arc::new(TokenFile::new(file.into()))),
            (_, None, plugin) => plugin.map(|plugin| plugin as _),
        };
        let certificate = data(
            "client-certificate",
            user.client_certificate_data.as_deref(),
            user.client_certificate.take().as_deref(),
        )?;
        let inline = user.client_key_data.take();
        let key =
            data("client-key", inline.as_ref().map(ExposeSecret::expose_secret), user.client_key.take().as_deref())?;
        pem::identity(certificate.as_deref(), key.as_deref())?;
        user.client_certificate_data = certificate.map(|pem| BASE64_STANDARD.encode(pem));
        user.client_key_data = key.map(|pem| BASE64_STANDARD.encode(pem).into());
        Ok(Target { who: user, tokens, warnings, ..target })
    }

    /// Files with secrets that other accounts of the machine can read.
    fn warnings(&self) -> Vec<Warning> {
        let user = &self.user;
        let inline = user.token.is_some() || user.password.is_some() || user.client_key_data.is_some();
        let files = [
            inline.then(|| self.file.to_owned()),
            user.client_key.as_ref().map(PathBuf::from),
            user.token_file.as_ref().map(PathBuf::from),
        ];
        files.into_iter().flatten().filter_map(exposed).collect()
    }
}

#[cfg(unix)]
fn exposed(file: PathBuf) -> Option<Warning> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(&file).ok()?.permissions().mode() & 0o777;
    (mode & 0o044 != 0).then_some(Warning { file, mode })
}

#[cfg(not(unix))]
fn exposed(_: PathBuf) -> Option<Warning> {
    None
}

/// A certificate or key, from the file itself or from one that it names.
fn data(field: &str, inline: Option<&str>, file: Option<&str>) -> Result<Option<Vec<u8>>> {
    if let Some(inline) = inline.filter(|inline| !inline.is_empty()) {
        let decoded = BASE64_STANDARD.decode(inline.trim());
        return decoded.map(Some).map_err(|_| {
            Error::invalid(OPERATION, format!("`{field}-data` is not base64"))
                .advice(format!("put PEM into it by `base64 -w0`, or name a file by `{field}`"))
        });
    }
    let Some(file) = file.filter(|file| !file.is_empty()) else { return Ok(None) };
    fs::read(file).map(Some).map_err(|error| Error::io(OPERATION, file, error).with("field", field))
}
