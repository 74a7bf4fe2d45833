//! The Kubernetes backend of [`ecolaura_deploy_core`]: apply, roll-out verdicts, undo, traffic, access, diagnostics.
//!
//! [`Connect`] makes a [`Connection`], and [`KubernetesCluster`] rolls workloads out on it. [`verdict`] tells whether an
//! object is as it was wished, and if not, why; [`access`] what an operation has to be allowed, and whether it is;
//! [`diagnose`] what is wrong with what runs. It depends on the core crate and `kube`, never on AWS.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `latest` (default) | the newest Kubernetes version that `k8s-openapi` knows; an application that wants another one turns this off and enables that version itself |

pub mod access;
mod belonging;
mod connect;
mod connection;
pub mod diagnose;
mod diff;
mod edition;
mod error;
#[cfg(test)]
mod fake_server;
pub mod fleet;
mod inventory;
pub mod job;
mod lease;
mod logs;
mod manifest;
mod names;
mod object;
mod operate;
mod order;
mod ownership;
mod reconcile;
mod render;
mod target;
mod time;
mod traffic;
pub mod verdict;
mod watch;
mod weights;

pub use self::{
    connect::{Connect, Identity, Warning},
    connection::Connection,
    logs::{LogSource, logs},
    operate::{History, Recorded},
    target::KubernetesCluster,
};
pub use ecolaura_deploy_core::backend::{Token, TokenSource};
