//! A fake [`Migrator`](crate::backend::Migrator).
