//! The suite of [`ImageBuilder`](crate::backend::ImageBuilder).
