//! The garden at a glance.

use chassis::{Call, Problem, Reply, State};
use serde_json::{Value, json};

/// `GET /api/summary`
pub(crate) fn read(state: &State, _call: &Call) -> Result<Reply, Problem> {
    let sql = "SELECT (SELECT count(*) FROM plants), (SELECT count(*) FROM notes), (SELECT count(*) FROM waterings),
        (SELECT coalesce(sum(millilitres), 0) FROM waterings)";
    state.database.with(|database| {
        let (plants, notes, waterings, millilitres): (i64, i64, i64, i64) =
            database.query_row(sql, [], |row| row.try_into())?;
        Ok(Reply::ok(json!({"plants": plants, "notes": notes, "waterings": waterings, "millilitres": millilitres})))
    })
}

/// `GET /api/flags`
#[expect(clippy::unnecessary_wraps, reason = "every route may fail")]
pub(crate) fn flags(state: &State, _call: &Call) -> Result<Reply, Problem> {
    Ok(Reply::ok(Value::Object(state.flags.all())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixture;

    #[test]
    fn the_migrations_bring_their_first_rows() {
        let fixture = Fixture::new("summary");
        let expected = json!({"plants": 6, "notes": 8, "waterings": 10, "millilitres": 3330});
        assert_eq!(read(&fixture.state, &Call::default()).unwrap().body, expected);
    }
}
