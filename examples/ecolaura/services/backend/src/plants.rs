//! Plants.

use chassis::{Call, Problem, Reply, State};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};

use crate::fields::{number, text};

const COLUMNS: &str = "SELECT id, name, species, place, water_every_days, created_at,
    (SELECT count(*) FROM notes WHERE plant_id = plants.id) AS notes,
    (SELECT max(watered_at) FROM waterings WHERE plant_id = plants.id) AS watered_at
    FROM plants";

/// `GET /api/plants`
pub(crate) fn list(state: &State, _call: &Call) -> Result<Reply, Problem> {
    state.database.with(|database| {
        let mut statement = database.prepare(&format!("{COLUMNS} ORDER BY id LIMIT 500"))?;
        let plants = statement.query_map([], plant)?.collect::<Result<Vec<_>, _>>()?;
        Ok(Reply::ok(json!({"plants": plants})))
    })
}

/// `GET /api/plants/{id}`
pub(crate) fn read(state: &State, call: &Call) -> Result<Reply, Problem> {
    state.database.with(|database| find(database, call.id).map(Reply::ok))
}

/// `POST /api/plants`
pub(crate) fn add(state: &State, call: &Call) -> Result<Reply, Problem> {
    let body = call.json()?;
    let (name, species) = (text(&body, "name", 1..=80)?, text(&body, "species", 1..=80)?);
    let place = text(&body, "place", 0..=80)?;
    let days = number(&body, "water_every_days", 1..=365)?;
    state.database.with(|database| {
        let sql = "INSERT INTO plants (name, species, place, water_every_days) VALUES (?, ?, ?, ?)";
        database.execute(sql, params![name, species, place, days])?;
        find(database, database.last_insert_rowid()).map(Reply::created)
    })
}

/// `DELETE /api/plants/{id}`, for administrators; notes and waterings go with it.
pub(crate) fn remove(state: &State, call: &Call) -> Result<Reply, Problem> {
    call.require_admin()?;
    state.database.with(|database| match database.execute("DELETE FROM plants WHERE id = ?", [call.id])? {
        0 => Err(Problem::missing("plant", call.id)),
        _ => Ok(Reply::ok(json!({"removed": call.id}))),
    })
}

fn plant(row: &Row<'_>) -> rusqlite::Result<Value> {
    Ok(json!({
        "id": row.get::<_, i64>("id")?,
        "name": row.get::<_, String>("name")?,
        "species": row.get::<_, String>("species")?,
        "place": row.get::<_, String>("place")?,
        "water_every_days": row.get::<_, i64>("water_every_days")?,
        "created_at": row.get::<_, String>("created_at")?,
        "notes": row.get::<_, i64>("notes")?,
        "watered_at": row.get::<_, Option<String>>("watered_at")?,
    }))
}

/// The plant, or that there is none.
pub(crate) fn find(database: &Connection, id: i64) -> Result<Value, Problem> {
    let mut statement = database.prepare(&format!("{COLUMNS} WHERE id = ?"))?;
    statement.query_row([id], plant).optional()?.ok_or_else(|| Problem::missing("plant", id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, body};

    #[test]
    fn a_plant_that_was_added_is_listed() {
        let fixture = Fixture::new("plants-add");
        let call = body(&json!({"name": "Gus", "species": "Ficus lyrata", "water_every_days": 9}));
        let added = add(&fixture.state, &call).unwrap();
        assert_eq!((added.status.as_u16(), &added.body["name"]), (201, &json!("Gus")));
        let plants = list(&fixture.state, &Call::default()).unwrap().body["plants"].clone();
        assert_eq!(plants.as_array().map(Vec::len), Some(7));
        assert_eq!(plants[0]["watered_at"], "2026-07-08T08:00:00Z");
        assert_eq!(plants[6], added.body);
    }

    #[test]
    fn what_is_wrong_with_a_plant_is_named() {
        let fixture = Fixture::new("plants-wrong");
        let call = body(&json!({"name": "Gus", "species": "Ficus lyrata", "water_every_days": 0}));
        let problem = add(&fixture.state, &call).unwrap_err();
        assert!(problem.status.as_u16() == 422 && problem.message.contains("water_every_days"), "{problem:?}");
    }

    #[test]
    fn only_an_administrator_removes_a_plant_and_its_notes() {
        let fixture = Fixture::new("plants-remove");
        let call = Call { id: 1, ..Call::default() };
        assert_eq!(remove(&fixture.state, &call).unwrap_err().status.as_u16(), 401);
        remove(&fixture.state, &Call { admin: true, ..call }).unwrap();
        assert_eq!(read(&fixture.state, &Call { id: 1, ..Call::default() }).unwrap_err().status.as_u16(), 404);
        let sql = "SELECT count(*) FROM notes";
        let left: i64 = fixture.state.database.with(|database| database.query_row(sql, [], |row| row.get(0))).unwrap();
        assert_eq!(left, 6);
    }
}
