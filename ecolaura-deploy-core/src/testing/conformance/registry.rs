//! The suite of [`Registry`](crate::backend::Registry).
