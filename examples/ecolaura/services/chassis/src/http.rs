//! Requests, answers, and which function answers which.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::{Database, Flags};

/// A request to an API route.
#[derive(Debug, Default)]
pub struct Call {
    /// What stood in the place of `{id}` in the route.
    pub id: i64,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the request carried the administrator's token.
    pub admin: bool,
}

impl Call {
    /// The body as a JSON object.
    pub fn json(&self) -> Result<Value, Problem> {
        match serde_json::from_slice(&self.body) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body must be a JSON object")),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))),
        }
    }

    /// Refuses callers without the administrator's token.
    pub fn require_admin(&self) -> Result<(), Problem> {
        let refusal = || Problem::new(StatusCode::UNAUTHORIZED, "this needs the header `Authorization: Bearer TOKEN`");
        self.admin.then_some(()).ok_or_else(refusal)
    }
}

/// An answer in JSON.
#[derive(Debug, PartialEq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
}

impl Reply {
    /// 200 with `body`.
    pub fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body }
    }

    /// 201 with `body`.
    pub fn created(body: Value) -> Self {
        Self { status: StatusCode::CREATED, body }
    }
}

/// Why a request was not served.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// What the caller is told.
    pub message: String,
    /// What only the log is told.
    pub cause: Option<String>,
}

impl Problem {
    /// A problem whose message the caller sees.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), cause: None }
    }

    /// 404: there is no such `thing`.
    pub fn missing(thing: &str, id: i64) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {thing} {id}"))
    }

    /// 422: `field` is not as expected.
    pub fn field(field: &str, expected: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("`{field}` must be {expected}"))
    }

    pub(crate) fn reply(&self) -> Reply {
        Reply { status: self.status, body: json!({"error": self.message}) }
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        let status = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { cause: Some(error.to_string()), ..Self::new(status, "the database did not answer") }
    }
}

/// What the answers are made of.
#[derive(Debug)]
pub struct State {
    /// The database.
    pub database: Database,
    /// The feature flags.
    pub flags: Flags,
}

/// A route of the API.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The path; one segment may be `{id}`.
    pub path: &'static str,
    /// What answers.
    pub answer: fn(&State, &Call) -> Result<Reply, Problem>,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found {
    Route(Route, i64),
    /// The path exists, for these methods.
    OtherMethod(Vec<&'static str>),
    Nothing,
}

pub(crate) fn find(routes: &[Route], method: &str, path: &str) -> Found {
    let matching: Vec<_> = routes.iter().filter_map(|route| Some((*route, id(route.path, path)?))).collect();
    match matching.iter().find(|(route, _)| route.method == method) {
        Some((route, id)) => Found::Route(*route, *id),
        None if matching.is_empty() => Found::Nothing,
        None => Found::OtherMethod(matching.iter().map(|(route, _)| route.method).collect()),
    }
}

/// The number in the place of `{id}`, 0 if the template has none; `None` if the path is another.
fn id(template: &str, path: &str) -> Option<i64> {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    let mut id = 0;
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(id),
            (Some("{id}"), Some(text)) => id = text.parse().ok().filter(|id| *id > 0)?,
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_routes() {
        assert_eq!(id("/api/plants", "/api/plants"), Some(0));
        assert_eq!(id("/api/plants/{id}/notes", "/api/plants/7/notes"), Some(7));
        for other in ["/api/plants/x/notes", "/api/plants/-1/notes", "/api/plants/7", "/api/plants/7/notes/"] {
            assert_eq!(id("/api/plants/{id}/notes", other), None, "{other}");
        }
    }

    #[test]
    fn another_method_is_told_apart_from_no_such_path() {
        let routes = [Route { method: "GET", path: "/a", answer: |_, _| Ok(Reply::ok(Value::Null)) }];
        assert!(matches!(find(&routes, "GET", "/a"), Found::Route(..)));
        assert!(matches!(find(&routes, "POST", "/a"), Found::OtherMethod(methods) if methods == ["GET"]));
        assert!(matches!(find(&routes, "GET", "/b"), Found::Nothing));
    }

    #[test]
    fn callers_are_not_told_what_the_database_said() {
        let problem = Problem::from(rusqlite::Error::InvalidQuery);
        assert!(!problem.reply().body.to_string().contains("query"));
        assert!(problem.cause.is_some());
    }
}
