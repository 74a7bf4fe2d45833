//! What Kubernetes manifests ask for, as plain data: shared by the embedded cluster and the fake.

pub(crate) mod desired;
pub(crate) mod diff;
mod expand;
pub(crate) mod manifest;
