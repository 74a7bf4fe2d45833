//! Plan, run, resume and undo a whole release: tests, images, registry, scan, backup, migration, roll-out, site, flags,
//! approvals, promotion, as one thing.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `local` | the embedded backends: image builder, registry, cluster, CDN, scanner, metrics, flags, secrets, approvals |
//! | `manifest` | reading Kubernetes manifests, for backends that apply them; `local` and `test-util` bring it |
//! | `docker` | images from a build file, by a Docker Engine with BuildKit; brings `local` |
//! | `oci` | any registry that speaks the OCI distribution API, over HTTPS |
//! | `sqlite` | SQL migrations on SQLite (cannot be linked beside an embedder's `rusqlite`) |
//! | `terminal` | a reporter with one steady line per running step |
//! | `html` | the self-contained HTML report of a run |
//! | `mock` | `mockall` mocks of every trait |
//! | `test-util` | conformance suites, in-memory fakes, fault wrappers, the simulation and its invariants |
//!
//! Nothing is on by default; all are additive.

pub mod analysis;
pub mod backend;
pub mod cdn;
pub mod clock;
#[cfg(any(feature = "local", feature = "test-util"))]
mod cluster;
mod context;
#[cfg(feature = "docker")]
pub mod docker;
pub mod doctor;
mod error;
pub mod event;
pub mod fence;
#[cfg_attr(not(any(feature = "local", feature = "oci")), expect(dead_code, reason = "backends need more of it"))]
mod files;
mod gate;
#[cfg(any(feature = "local", feature = "oci"))]
#[cfg_attr(not(feature = "local"), expect(dead_code, unused_imports, reason = "the embedded backends use the rest"))]
mod image;
mod leftovers;
#[cfg(feature = "local")]
pub mod local;
pub mod lock;
#[cfg(any(feature = "docker", feature = "oci"))]
mod login;
#[cfg(feature = "manifest")]
pub mod manifest;
pub mod migration;
pub mod nonce;
#[cfg(feature = "oci")]
pub mod oci;
pub mod pipeline;
pub mod plan;
pub mod redact;
pub mod report;
pub mod run;
mod secret;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod step;
pub mod steps;
pub mod store;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod vocabulary;
pub mod window;

pub use self::{
    context::{Context, Limits},
    error::{BoxError, Effect, Error, ErrorKind, ErrorRecord, Result, Retry, causes},
    gate::{Admitted, Verdict},
    secret::{Secret, SecretRef},
};

/// Compiles the README's program.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct ReadmeDoctests;
