//! A fake [`Registry`](crate::backend::Registry).
