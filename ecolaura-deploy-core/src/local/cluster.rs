//! Deployments as supervised local processes.
