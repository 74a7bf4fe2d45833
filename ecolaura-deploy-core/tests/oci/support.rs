//! What most tests begin with.

use ecolaura_deploy_core::{
    Context,
    backend::{Registry as _, TagChange},
    oci::OciRegistry,
    vocabulary::{Digest, Repository, Tag},
};
use serde_json::{Value, json};

use super::{images::image, server::FakeRegistry};

pub(crate) fn cx() -> Context {
    Context::new("test".parse().unwrap())
}

pub(crate) fn repository() -> Repository {
    "shop/backend".parse().unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) fn registry(server: &FakeRegistry) -> OciRegistry {
    OciRegistry::new("registry".parse().unwrap(), &server.address.to_string()).unwrap()
}

/// How Harbor refuses to move an immutable tag.
pub(crate) fn as_harbor() -> (u16, Value) {
    let message = "Failed to process request due to 'v1' configured as immutable.";
    (412, json!({"errors": [{"code": "PRECONDITION", "message": message}]}))
}

/// How ECR does, also if the digest is the same.
pub(crate) fn as_ecr() -> (u16, Value) {
    let message = "The image tag 'v1' already exists in the 'shop/backend' repository and cannot be overwritten \
        because the repository is immutable.";
    (400, json!({"errors": [{"code": "TAG_INVALID", "message": message}]}))
}

pub(crate) fn change(to: Option<Digest>) -> TagChange {
    TagChange::new(repository(), tag("v1"), to)
}

/// Two images in the registry, `v1` at the first.
pub(crate) async fn two(registry: &OciRegistry) -> (Digest, Digest) {
    let dir = tempfile::tempdir().unwrap();
    let mut digests = Vec::new();
    for layer in ["first", "second"] {
        let image = image(&dir.path().join(layer), layer.as_bytes());
        digests.push(registry.push(&cx(), &image, &repository()).await.unwrap().digest);
    }
    registry.set_tag(&cx(), &change(Some(digests[0]))).await.unwrap();
    (digests[0], digests[1])
}
