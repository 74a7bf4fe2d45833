//! A fake [`ClusterTarget`](crate::backend::ClusterTarget).
