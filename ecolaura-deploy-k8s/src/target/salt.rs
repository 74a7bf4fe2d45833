//! What makes digests of a namespace's Secrets say nothing of them.

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    nonce::{NonceSource as _, RandomNonces},
    vocabulary::Name,
};
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use kube::{Api, api::PostParams};
use serde_json::json;

use super::Inner;
use crate::{
    error::Call,
    names::{MANAGER, PART},
};

/// The salt of a namespace, if it has one.
pub(super) async fn salt(inner: &Inner, cx: &Context, namespace: &Name) -> Result<Option<Vec<u8>>> {
    let call = Call::reads("cluster.read", format!("Secret {namespace}/{MANAGER}"));
    let get = async |client| Api::<KubernetesSecret>::namespaced(client, namespace.as_str()).get(MANAGER).await;
    let found = inner.connection.find(cx, call, get).await?;
    Ok(found.and_then(|secret| secret.data?.remove("salt")).map(|bytes| bytes.0))
}

/// The salt of a namespace; made and kept if there is none.
pub(super) async fn salted(inner: &Inner, cx: &Context, namespace: &Name) -> Result<Vec<u8>> {
    if let Some(salt) = salt(inner, cx, namespace).await? {
        return Ok(salt);
    }
    let salt = random();
    let secret = json!({"metadata": {"name": MANAGER, "labels": {PART: "salt"}}, "immutable": true,
        "stringData": {"salt": salt}});
    let secret: KubernetesSecret = serde_json::from_value(secret)
        .map_err(|error| Error::internal("cluster.apply", "a salt could not be written").with_source(error))?;
    let call = Call::writes("cluster.apply", "create", format!("Secret {namespace}/{MANAGER}"));
    let params = PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) };
    let (params, secret) = (&params, &secret);
    let create =
        async |client| Api::<KubernetesSecret>::namespaced(client, namespace.as_str()).create(params, secret).await;
    match inner.connection.call(cx, call, create).await {
        Ok(_) => Ok(salt.into_bytes()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(self::salt(inner, cx, namespace).await?.unwrap_or_default())
        }
        Err(error) => Err(error),
    }
}

/// 128 random bits as text.
pub(super) fn random() -> String {
    format!("{:016x}{:016x}", RandomNonces.next(), RandomNonces.next())
}
