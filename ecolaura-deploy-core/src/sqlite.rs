//! Migrations on SQLite, in the file naming and ledger of sqlx.
