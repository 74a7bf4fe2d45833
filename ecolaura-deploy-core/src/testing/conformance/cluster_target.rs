//! The suite of [`ClusterTarget`](crate::backend::ClusterTarget).
