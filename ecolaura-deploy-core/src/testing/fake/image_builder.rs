//! A fake [`ImageBuilder`](crate::backend::ImageBuilder).
