//! A fake [`CdnPublisher`](crate::backend::CdnPublisher).
