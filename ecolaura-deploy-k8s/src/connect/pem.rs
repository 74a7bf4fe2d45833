//! Certificates and keys in PEM, looked at before they are needed.

use ecolaura_deploy_core::{Error, Result};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::OPERATION;

/// The certificates of an authority.
pub(super) fn authority(pem: &[u8]) -> Result<Vec<Vec<u8>>> {
    let certificates = certificates("certificate-authority", pem)?;
    Ok(certificates.into_iter().map(|certificate| certificate.to_vec()).collect())
}

/// A client certificate and its key: both or neither.
pub(super) fn identity(certificate: Option<&[u8]>, key: Option<&[u8]>) -> Result<()> {
    match (certificate, key) {
        (None, None) => Ok(()),
        (Some(certificate), Some(key)) => {
            certificates("client-certificate", certificate)?;
            PrivateKeyDer::from_pem_slice(key).map(drop).map_err(|_| {
                Error::invalid(OPERATION, "`client-key` has no private key in PEM (PKCS#8, PKCS#1 or SEC1)")
            })
        }
        (Some(_), None) => Err(Error::invalid(OPERATION, "there is a `client-certificate` but no `client-key`")),
        (None, Some(_)) => Err(Error::invalid(OPERATION, "there is a `client-key` but no `client-certificate`")),
    }
}

fn certificates(field: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::invalid(OPERATION, format!("`{field}` has no certificate in PEM"))),
    }
}
