//! Images from build files on a real Docker Engine, whose socket `ECOLAURA_TEST_DOCKER` names, and on what is none.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod bench;
mod billing;
mod building;
mod caching;
mod cancelling;
mod failing;
mod ignoring;
mod logins;
mod pushing;
mod secrets;
