//! Ecolaura's notifications: what people want to be reminded of. It needs the database and no other service.

use std::process::ExitCode;

use chassis::{About, Call, Problem, Reply, Route, State};
use rusqlite::Row;
use serde_json::{Value, json};

const VERSION: &str = include_str!("../../../VERSION");

const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/api/notifications", answer: list },
    Route { method: "POST", path: "/api/notifications/{id}/done", answer: finish },
];

fn main() -> ExitCode {
    chassis::run(About { service: "notifications", version: VERSION.trim_ascii() }, ROUTES)
}

/// What is not done, the most urgent first.
fn list(state: &State, _call: &Call) -> Result<Reply, Problem> {
    let sql = "SELECT id, plant_id, message, due_on FROM reminders WHERE NOT done ORDER BY due_on, id LIMIT 200";
    state.database.with(|database| {
        let mut statement = database.prepare(sql)?;
        let found = statement.query_map([], reminder)?.collect::<Result<Vec<_>, _>>()?;
        Ok(Reply::ok(json!({"notifications": found})))
    })
}

/// Done already is done.
fn finish(state: &State, call: &Call) -> Result<Reply, Problem> {
    let sql = "UPDATE reminders SET done = 1 WHERE id = ?";
    state.database.with(|database| match database.execute(sql, [call.id])? {
        0 => Err(Problem::missing("notification", call.id)),
        _ => Ok(Reply::ok(json!({"done": call.id}))),
    })
}

fn reminder(row: &Row<'_>) -> rusqlite::Result<Value> {
    let (id, plant, message, due): (i64, i64, String, String) = row.try_into()?;
    Ok(json!({"id": id, "plant_id": plant, "message": message, "due_on": due}))
}

#[cfg(test)]
mod tests {
    use chassis::{Database, Flags};
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn what_is_done_is_no_longer_told() {
        let folder = std::env::temp_dir().join(format!("ecolaura-notifications-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ecolaura.db");
        let database = Connection::open(&path).unwrap();
        database.execute_batch(include_str!("../../../migrations/0001_plants.up.sql")).unwrap();
        database.execute_batch(include_str!("../../../migrations/0003_care.up.sql")).unwrap();
        let state = State { database: Database::new(&path), flags: Flags::new(None) };
        let messages = || {
            let found = list(&state, &Call::default()).unwrap().body["notifications"].clone();
            found.as_array().unwrap().iter().map(|one| one["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(messages(), ["Water Basil", "Water Ada", "Feed Olivia before autumn", "Repot Pearl"]);
        let call = Call { id: 2, ..Call::default() };
        assert_eq!(finish(&state, &call), finish(&state, &call));
        assert_eq!(messages().len(), 3);
        assert_eq!(finish(&state, &Call { id: 99, ..call }).unwrap_err().status.as_u16(), 404);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
