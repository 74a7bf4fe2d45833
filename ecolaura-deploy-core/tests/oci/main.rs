//! The registry over the OCI distribution API: on a real registry, and on a fake that shows the documented faults.
//!
//! The real one is named by `ECOLAURA_TEST_REGISTRY`, `HOST:PORT` by plain HTTP, and one that wants a login by
//! `ECOLAURA_TEST_REGISTRY_LOGIN`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod attach;
mod chunks;
mod clock;
mod copy;
mod delete;
mod faults;
mod htpasswd;
mod images;
mod lists;
mod login;
mod logins;
mod matrix;
mod real;
mod relay;
mod server;
mod tags;
mod tls;

use ecolaura_deploy_core::{
    Context,
    oci::OciRegistry,
    vocabulary::{Repository, Tag},
};
use server::FakeRegistry;

fn cx() -> Context {
    Context::new("test".parse().unwrap())
}

fn repository() -> Repository {
    "shop/backend".parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn registry(server: &FakeRegistry) -> OciRegistry {
    OciRegistry::new("registry".parse().unwrap(), &server.address.to_string()).unwrap()
}
