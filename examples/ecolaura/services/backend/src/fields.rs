//! What a caller sent, field by field.

use std::ops::RangeInclusive;

use chassis::Problem;
use serde_json::Value;

/// The text in `field`, trimmed, with `length` characters.
pub(crate) fn text<'a>(body: &'a Value, field: &str, length: RangeInclusive<usize>) -> Result<&'a str, Problem> {
    let found = body.get(field).map_or(Some(""), Value::as_str).map(str::trim);
    found
        .filter(|text| length.contains(&text.chars().count()))
        .ok_or_else(|| Problem::field(field, &format!("a text of {} to {} characters", length.start(), length.end())))
}

/// The whole number in `field`.
pub(crate) fn number(body: &Value, field: &str, range: RangeInclusive<i64>) -> Result<i64, Problem> {
    let found = body.get(field).and_then(Value::as_i64).filter(|number| range.contains(number));
    found.ok_or_else(|| Problem::field(field, &format!("a whole number from {} to {}", range.start(), range.end())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_taken_or_named() {
        let body = json!({"name": "  Ada ", "days": 7, "half": 0.5});
        assert_eq!(text(&body, "name", 1..=80), Ok("Ada"));
        assert_eq!(text(&body, "place", 0..=80), Ok(""));
        assert_eq!(number(&body, "days", 1..=365), Ok(7));
        assert!(text(&body, "species", 1..=80).unwrap_err().message.contains("`species`"));
        assert!(text(&body, "days", 0..=80).is_err());
        assert!(number(&body, "half", 0..=1).is_err());
    }
}
