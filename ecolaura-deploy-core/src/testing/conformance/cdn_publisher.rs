//! The suite of [`CdnPublisher`](crate::backend::CdnPublisher).
