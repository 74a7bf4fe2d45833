//! Notes about a plant, and its waterings.

use chassis::{Call, Problem, Reply, State};
use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use crate::{
    fields::{number, text},
    plants,
};

/// `GET /api/plants/{id}/notes`, newest first
pub(crate) fn notes(state: &State, call: &Call) -> Result<Reply, Problem> {
    let sql = "SELECT id, text, created_at FROM notes WHERE plant_id = ? ORDER BY id DESC LIMIT 200";
    of_plant(state, call.id, "notes", sql, note)
}

/// `POST /api/plants/{id}/notes`
pub(crate) fn add_note(state: &State, call: &Call) -> Result<Reply, Problem> {
    let body = call.json()?;
    let words = text(&body, "text", 1..=2000)?;
    state.database.with(|database| {
        plants::find(database, call.id)?;
        let sql = "INSERT INTO notes (plant_id, text) VALUES (?, ?) RETURNING id, text, created_at";
        Ok(Reply::created(database.query_row(sql, params![call.id, words], note)?))
    })
}

/// `GET /api/plants/{id}/waterings`, newest first
pub(crate) fn waterings(state: &State, call: &Call) -> Result<Reply, Problem> {
    let sql = "SELECT id, millilitres, watered_at FROM waterings WHERE plant_id = ? ORDER BY id DESC LIMIT 200";
    of_plant(state, call.id, "waterings", sql, watering)
}

/// `POST /api/plants/{id}/waterings`
pub(crate) fn add_watering(state: &State, call: &Call) -> Result<Reply, Problem> {
    let amount = number(&call.json()?, "millilitres", 1..=20_000)?;
    state.database.with(|database| {
        plants::find(database, call.id)?;
        let sql = "INSERT INTO waterings (plant_id, millilitres) VALUES (?, ?) RETURNING id, millilitres, watered_at";
        Ok(Reply::created(database.query_row(sql, params![call.id, amount], watering)?))
    })
}

fn of_plant(
    state: &State,
    id: i64,
    name: &str,
    sql: &str,
    read: fn(&Row<'_>) -> rusqlite::Result<Value>,
) -> Result<Reply, Problem> {
    state.database.with(|database: &mut Connection| {
        plants::find(database, id)?;
        let mut statement = database.prepare(sql)?;
        let rows = statement.query_map([id], read)?.collect::<Result<Vec<_>, _>>()?;
        Ok(Reply::ok(json!({name: rows})))
    })
}

fn note(row: &Row<'_>) -> rusqlite::Result<Value> {
    let (id, text, created_at): (i64, String, String) = row.try_into()?;
    Ok(json!({"id": id, "text": text, "created_at": created_at}))
}

fn watering(row: &Row<'_>) -> rusqlite::Result<Value> {
    let (id, millilitres, watered_at): (i64, i64, String) = row.try_into()?;
    Ok(json!({"id": id, "millilitres": millilitres, "watered_at": watered_at}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, body};

    #[test]
    fn the_newest_note_comes_first() {
        let fixture = Fixture::new("care-notes");
        let call = Call { id: 1, ..body(&json!({"text": " A new leaf. "})) };
        assert_eq!(add_note(&fixture.state, &call).unwrap().body["text"], "A new leaf.");
        let found = notes(&fixture.state, &call).unwrap().body;
        assert_eq!(found["notes"].as_array().map(Vec::len), Some(3));
        assert_eq!(found["notes"][0]["text"], "A new leaf.");
    }

    #[test]
    fn waterings_belong_to_a_plant_that_exists() {
        let fixture = Fixture::new("care-waterings");
        let call = Call { id: 2, ..body(&json!({"millilitres": 120})) };
        assert_eq!(add_watering(&fixture.state, &call).unwrap().status.as_u16(), 201);
        assert_eq!(waterings(&fixture.state, &call).unwrap().body["waterings"][0]["millilitres"], 120);
        assert_eq!(add_watering(&fixture.state, &Call { id: 99, ..call }).unwrap_err().status.as_u16(), 404);
    }
}
