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
mod real;
mod relay;
#[expect(dead_code, reason = "the fault matrix uses the rest")]
mod server;
mod support;
mod tags;
mod tls;

use support::{cx, registry, repository, tag};
