//! Where a registry is, and what a repository is called there.

use std::net::IpAddr;

use reqwest::Url;

use crate::{
    Error, Result,
    login::{self, is_hub},
    vocabulary::Repository,
};

/// Where Docker Hub answers.
const HUB_API: &str = "registry-1.docker.io";

#[derive(Debug, Clone)]
pub(super) struct Place {
    /// As the caller wrote it: `ghcr.io`, `127.0.0.1:5000`.
    pub(super) host: String,
    pub(super) base: Url,
    pub(super) namespace: Option<Repository>,
}

impl Place {
    pub(super) fn new(operation: &'static str, host: &str) -> Result<Self> {
        let hub = is_hub(host);
        let url = |scheme: &str| Url::parse(&format!("{scheme}://{}/", if hub { HUB_API } else { host })).ok();
        let plain = host.chars().all(|found| found.is_ascii_alphanumeric() || ".-:[]".contains(found));
        let Some(base) = url("https").filter(|base| plain && base.path() == "/" && base.has_host()) else {
            let message = format!("`{host}` is no registry's host; expected a name and perhaps a port, `ghcr.io`");
            return Err(Error::invalid(operation, message).advice("leave out `https://` and any path"));
        };
        let base = if is_loopback(&base) { url("http").unwrap_or(base) } else { base };
        Ok(Self { host: host.to_owned(), base, namespace: None })
    }

    /// With another scheme, by which the port that is not named changes too.
    pub(super) fn scheme(&mut self, scheme: &str) {
        let text = format!("{scheme}{}", &self.base.as_str()[self.base.scheme().len()..]);
        self.base = Url::parse(&text).unwrap_or_else(|_| self.base.clone());
    }

    /// Whether secrets go there unencrypted.
    pub(super) fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// Whether requests may be sent to `url`, which the registry named.
    pub(super) fn allows(&self, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => self.is_plain() && (is_loopback(url) || !is_loopback(&self.base)),
            _ => false,
        }
    }

    /// Under which name logins for it are kept.
    pub(super) fn login(&self) -> &str {
        login::kept_as(&self.host)
    }

    /// What `repository` is called there; `None` if it names another registry.
    pub(super) fn path(&self, repository: &Repository) -> Option<String> {
        let text = repository.as_str();
        let path = match (host(repository), &self.namespace) {
            (Some((host, path)), _) if self.answers_to(host) => path.to_owned(),
            (Some(_), _) => return None,
            (None, Some(namespace)) => format!("{namespace}/{text}"),
            (None, None) => text.to_owned(),
        };
        let official = is_hub(&self.host) && !path.contains('/');
        Some(if official { format!("library/{path}") } else { path })
    }

    /// Whether `repository` is named with this registry's host.
    pub(super) fn is_named_by(&self, repository: &Repository) -> bool {
        host(repository).is_some_and(|(host, _)| self.answers_to(host))
    }

    fn answers_to(&self, host: &str) -> bool {
        host == self.host || (is_hub(host) && is_hub(&self.host))
    }
}

/// The host that `repository` is named with, and the rest.
fn host(repository: &Repository) -> Option<(&str, &str)> {
    let parts = repository.as_str().split_once('/');
    parts.filter(|(host, _)| host.contains(['.', ':']) || *host == "localhost")
}

/// Whether `url` is on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn place(host: &str) -> Place {
        Place::new("test", host).unwrap()
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_encryption() {
        for (host, base) in [
            ("127.0.0.1:5000", "http://127.0.0.1:5000/"),
            ("localhost:5000", "http://localhost:5000/"),
            ("[::1]:5000", "http://[::1]:5000/"),
            ("ghcr.io", "https://ghcr.io/"),
            ("registry.internal:5000", "https://registry.internal:5000/"),
            ("127.0.0.1.example.org", "https://127.0.0.1.example.org/"),
            ("docker.io", "https://registry-1.docker.io/"),
        ] {
            assert_eq!(place(host).base.as_str(), base);
        }
        let mut tls = place("localhost");
        tls.scheme("https");
        assert_eq!(tls.base.as_str(), "https://localhost/");
    }

    #[test]
    fn what_is_no_host_is_named() {
        for host in ["", "https://ghcr.io", "ghcr.io/owner", "user:secret@ghcr.io", "ghcr.io?x", "a b", "ghcr.io:port"]
        {
            let error = Place::new("test", host).unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(host), "{host}: {error}");
        }
    }

    #[test]
    fn repositories_of_another_registry_are_not_here() {
        let mut here = place("127.0.0.1:5000");
        let path = |place: &Place, text: &str| place.path(&text.parse().unwrap());
        assert_eq!(path(&here, "127.0.0.1:5000/shop/backend").as_deref(), Some("shop/backend"));
        assert_eq!(path(&here, "shop/backend").as_deref(), Some("shop/backend"));
        assert_eq!(path(&here, "localhost:5000/shop/backend"), None);
        here.namespace = Some("owner/project".parse().unwrap());
        assert_eq!(path(&here, "shop/backend").as_deref(), Some("owner/project/shop/backend"));
        assert_eq!(path(&here, "127.0.0.1:5000/shop/backend").as_deref(), Some("shop/backend"));
        let hub = place("docker.io");
        assert_eq!(path(&hub, "index.docker.io/alpine").as_deref(), Some("library/alpine"));
        assert_eq!(path(&hub, "owner/alpine").as_deref(), Some("owner/alpine"));
    }

    #[test]
    fn encryption_is_not_given_up_on_the_way() {
        let allows = |place: &Place, url: &str| place.allows(&Url::parse(url).unwrap());
        let tls = place("ghcr.io");
        assert!(allows(&tls, "https://elsewhere.example/x") && !allows(&tls, "http://ghcr.io/x"));
        let local = place("127.0.0.1:5000");
        assert!(allows(&local, "http://localhost:6000/token") && !allows(&local, "http://elsewhere.example/token"));
        assert!(!allows(&local, "file:///etc/passwd"));
    }
}
