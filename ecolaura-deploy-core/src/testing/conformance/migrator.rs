//! The suite of [`Migrator`](crate::backend::Migrator).
