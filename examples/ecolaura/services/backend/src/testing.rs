//! A database that the migrations made, for tests.

use std::path::PathBuf;

use chassis::{Call, Database, Flags, State};
use rusqlite::Connection;
use serde_json::Value;

const MIGRATIONS: [&str; 3] = [
    include_str!("../../../migrations/0001_plants.up.sql"),
    include_str!("../../../migrations/0002_notes.up.sql"),
    include_str!("../../../migrations/0003_care.up.sql"),
];

/// A state with its own database, which goes away with it.
pub(crate) struct Fixture {
    pub(crate) state: State,
    folder: PathBuf,
}

impl Fixture {
    /// `name` tells tests apart.
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ecolaura-backend-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ecolaura.db");
        let database = Connection::open(&path).unwrap();
        for sql in MIGRATIONS {
            database.execute_batch(sql).unwrap();
        }
        Self { state: State { database: Database::new(path), flags: Flags::new(None) }, folder }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A call with `body`.
pub(crate) fn body(body: &Value) -> Call {
    Call { body: body.to_string().into_bytes(), ..Call::default() }
}
