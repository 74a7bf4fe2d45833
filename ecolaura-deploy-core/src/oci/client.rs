//! The HTTP client: who is trusted, where requests may be led, how long nothing may happen.

use std::{sync::Arc, time::Duration};

use reqwest::redirect::{Attempt, Policy};
use rustls::{
    ClientConfig,
    client::danger::ServerCertVerifier,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{
    place::{Place, is_loopback},
    trust::{Later, trusted},
};
use crate::{Error, ErrorKind, Result};

const CONNECT: Duration = Duration::from_secs(20);
const REDIRECTS: usize = 10;
const AGENT: &str = concat!("ecolaura-deploy/", env!("CARGO_PKG_VERSION"));

pub(super) fn new(
    operation: &'static str,
    place: &Place,
    authorities: &[CertificateDer<'static>],
) -> Result<reqwest::Client> {
    let failed = |what: &str, error: crate::BoxError| {
        Error::new(ErrorKind::InvalidInput, operation, format!("{what}: {error}"))
            .with("registry", &place.host)
            .with_source(error)
    };
    let tls = tls(place, authorities).map_err(|error| failed("TLS cannot be set up", error.into()))?;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT)
        .redirect(Policy::custom(follow))
        .user_agent(AGENT);
    // A proxy's loopback is not this machine's.
    let client = if is_loopback(&place.base) { client.no_proxy() } else { client };
    client.build().map_err(|error| failed("the HTTP client cannot be set up", error.into()))
}

/// Trusts whom the machine trusts, and `authorities`.
fn tls(place: &Place, authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match place.is_plain() {
        true => Arc::new(Later::new(authorities, &provider)),
        false => Arc::new(trusted(authorities, &provider)?),
    };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Where a registry may lead a request: not out of encryption. The client itself takes the login off for another host.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let encrypted = attempt.previous().iter().any(|url| url.scheme() == "https");
    if encrypted && attempt.url().scheme() != "https" {
        return attempt.error("led to an address without encryption");
    }
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("led on and on");
    }
    attempt.follow()
}

/// The certificates in `pem`.
pub(super) fn certificates(operation: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::invalid(operation, "no certificate is in it; expected `-----BEGIN CERTIFICATE-----`")),
        Err(error) => {
            Err(Error::invalid(operation, format!("the certificates are not as PEM: {error}")).with_source(error))
        }
    }
}
