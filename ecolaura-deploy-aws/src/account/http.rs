//! How AWS is spoken to: TLS by `ring`, through the proxy that the environment names.

#[cfg(feature = "run-store")]
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
#[cfg(feature = "run-store")]
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::{http::SharedHttpClient, runtime_components::RuntimeComponents};

/// A client whose requests go through `HTTPS_PROXY` unless `NO_PROXY` names the host; with `direct`, never.
pub(super) fn client(direct: bool) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.proxy_config(proxy(direct)).tls_provider(TLS).build()
    })
}

/// The same below the client: one way, with connections of its own.
#[cfg(feature = "run-store")]
pub(super) fn connector(direct: bool) -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(std::time::Duration::from_secs(4)).build();
    let builder = Connector::builder().connector_settings(settings).sleep_impl(TokioSleep::new());
    SharedHttpConnector::new(builder.proxy_config(proxy(direct)).tls_provider(TLS).build())
}

const TLS: Provider = Provider::Rustls(CryptoMode::Ring);

fn proxy(direct: bool) -> ProxyConfig {
    if direct { ProxyConfig::disabled() } else { ProxyConfig::from_env() }
}
