//! The Kubernetes backend of [`ecolaura_deploy_core`]: apply, roll-out verdicts, undo, traffic, jobs, diagnostics.
//!
//! So far it judges: [`verdict`] tells whether an object is as it was wished, and if not, why. It depends on the core
//! crate and `kube`, never on AWS.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `latest` (default) | the newest Kubernetes version that `k8s-openapi` knows; an application that wants another one turns this off and enables that version itself |

pub mod verdict;
