//! How AWS is spoken to: TLS by `ring`, through the proxy that the environment names.

use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{http::SharedHttpClient, runtime_components::RuntimeComponents};

/// A client whose requests go through `HTTPS_PROXY` unless `NO_PROXY` names the host; with `direct`, never.
pub(super) fn client(direct: bool) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        let proxy = if direct { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
        builder.proxy_config(proxy).tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    })
}
