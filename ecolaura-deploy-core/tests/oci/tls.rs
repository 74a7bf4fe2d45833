use std::sync::Arc;

use ecolaura_deploy_core::{ErrorKind, Retry, backend::Registry as _};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use super::{cx, images::image, registry, repository, server::FakeRegistry};

/// Made for these tests; good for 100 years, for `localhost` and `127.0.0.1`.
const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");

async fn fake() -> FakeRegistry {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    FakeRegistry::start_with(move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.ok() }
    })
    .await
}

#[tokio::test]
async fn fake_over_tls_is_trusted_by_its_authority() {
    let (server, dir) = (fake().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    let trusting = registry(&server).https().authorities(AUTHORITY).unwrap();
    trusting.push(&cx(), &image, &repository()).await.unwrap();
    assert!(server.holds_manifest(image.digest));
}

#[tokio::test]
async fn fake_over_tls_that_nobody_vouches_for_is_sent_nothing() {
    let (server, dir) = (fake().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    // Somebody else's authority: a machine that trusts nobody at all cannot set up TLS.
    let error =
        registry(&server).https().authorities(OTHER).unwrap().push(&cx(), &image, &repository()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Never), "{error:?}");
    assert!(error.report().contains("certificate") && error.report().contains("authority"), "{}", error.report());
    assert!(server.state().log.is_empty());
}

#[tokio::test]
async fn fake_without_tls_that_leads_to_tls_is_followed_only_to_whom_is_trusted() {
    let (server, storage, dir) = (FakeRegistry::start().await, fake().await, tempfile::tempdir().unwrap());
    server.state().uploads = Some(format!("https://{}", storage.address));
    storage.state().sessions.extend((1..=4).map(|number| (format!("session-{number}"), Vec::new())));
    let image = image(dir.path(), b"layer");
    let doubting = registry(&server).authorities(OTHER).unwrap();
    let error = doubting.push(&cx(), &image, &repository()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Never), "{error:?}");
    assert!(error.report().contains("certificate") && storage.state().log.is_empty(), "{}", error.report());
    let trusting = registry(&server).authorities(AUTHORITY).unwrap();
    let error = trusting.push(&cx(), &image, &repository()).await.unwrap_err();
    assert!(error.report().contains("MANIFEST_BLOB_UNKNOWN"), "the fake itself has no blobs: {error:?}");
    assert_eq!(storage.state().carried.len(), 2, "the layer and the configuration");
}

#[tokio::test]
async fn fake_without_tls_is_told_from_one_with_a_bad_certificate() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    let registry = registry(&server).https().authorities(AUTHORITY).unwrap();
    let error = registry.push(&cx(), &image, &repository()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Never), "{error:?}");
    assert!(error.report().contains("does not speak TLS"), "{}", error.report());
}

#[tokio::test]
async fn what_is_no_certificate_is_refused_at_once() {
    let server = FakeRegistry::start().await;
    for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
        let error = registry(&server).authorities(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
    }
}

/// The server's own certificate is no authority's.
const OTHER: &[u8] = CERTIFICATE;
