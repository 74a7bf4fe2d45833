//! A YAML or JSON document as a tree that remembers its lines.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

/// A value and the line it stands on.
#[derive(Debug)]
#[non_exhaustive]
pub struct Node {
    /// What it holds.
    pub value: Value,
    /// Counted from 1.
    pub line: u64,
}

/// What a node holds.
#[derive(Debug)]
pub enum Value {
    /// `null`, `~`, or nothing.
    Null,
    /// `true` or `false`.
    Truth(bool),
    /// A whole number.
    Whole(i128),
    /// Any other number.
    Fraction(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// An object, in the order of the file.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The key; there is no other with it.
    pub key: String,
    /// The line that the key stands on.
    pub line: u64,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The value of `key`, unless it is null.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let entry = self.entries().iter().find(|entry| entry.key == key)?;
        Some(&entry.node).filter(|node| !matches!(node.value, Value::Null))
    }

    /// The entries, if it is an object.
    pub fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The items, if it is a list.
    pub fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The same as JSON, without lines. A number that JSON cannot hold becomes null.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Truth(value) => (*value).into(),
            Value::Whole(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => serde_json::Value::Null,
            },
            Value::Fraction(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// Takes the list under `items` out.
    pub(super) fn take_items(&mut self) -> Vec<Self> {
        let Value::Map(entries) = &mut self.value else { return Vec::new() };
        match entries.iter_mut().find(|entry| entry.key == "items").map(|entry| &mut entry.node.value) {
            Some(Value::List(items)) => std::mem::take(items),
            _ => Vec::new(),
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// For an error: `8080`, `"http"`, `a list`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Truth(value) => value.to_string(),
            Value::Whole(value) => value.to_string(),
            Value::Fraction(value) => value.to_string(),
            Value::Text(text) if text.len() <= 60 => format!("{text:?}"),
            _ => self.kind().to_owned(),
        }
    }

    /// The same without the value.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Truth(_) => "a boolean",
            Value::Whole(_) | Value::Fraction(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
        }
    }
}

/// A text that is not YAML.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) line: Option<u64>,
    pub(super) message: String,
}

/// The documents of `text` that hold something. JSON is read as the YAML it is.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Malformed> {
    let options = serde_saphyr::options! {
        // Objects nest 15 deep at most; what the library allows by itself is more than a thread's stack holds.
        budget: serde_saphyr::budget! { max_depth: 32 },
        // A snippet in the message could show a secret.
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| Malformed {
        line: error.location().map(|location| location.line()),
        message: error.without_snippet().to_string().lines().next().unwrap_or_default().to_owned(),
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, line: spanned.referenced.line() })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder)
    }
}

struct Builder;

impl<'de> de::Visitor<'de> for Builder {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML or JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Truth(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Fraction(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let node = map.next_value()?;
            entries.push(Entry { key: key.value, line: key.referenced.line(), node });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_types_are_kept() {
        let documents = parse("a: 1\nb:\n  - \"1\"\n  - yes\n---\n# nothing\n---\nc: {d: ~}\n").unwrap();
        assert_eq!(documents.len(), 2);
        let list = documents[0].get("b").unwrap();
        let seen: Vec<_> = list.items().iter().map(|node| (node.line, node.describe())).collect();
        assert_eq!(seen, [(3, "\"1\"".to_owned()), (4, "true".to_owned())]);
        assert_eq!(documents[0].entries()[1].line, 2);
        assert!(documents[1].get("c").unwrap().get("d").is_none());
    }

    #[test]
    fn json_is_read_too() {
        let documents = parse("{\n\t\"a\": [1, 2.5, \"x\"]\n}\n").unwrap();
        assert_eq!(documents[0].get("a").unwrap().items().len(), 3);
    }

    #[test]
    fn malformed_text_names_the_line_and_shows_no_value() {
        for text in ["a: 1\npassword: [hunter2\n", "a: 1\na: hunter2\n", "a: 1\nb: *hunter\n"] {
            let error = parse(text).unwrap_err();
            assert!(error.line.is_some_and(|line| line >= 2), "{error:?}");
            assert!(!error.message.contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn hostile_text_is_refused_soon() {
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, before) in ('b'..='p').zip('a'..) {
            let aliases = vec![format!("*{before}"); 9].join(", ");
            bomb.extend([&format!("{name}: &{name} "), "[", &aliases, "]\n"]);
        }
        let deep = "[".repeat(100_000);
        let lines: Vec<_> = (0..5_000).map(|depth| " ".repeat(depth) + "a:").collect();
        let nested = lines.join("\n");
        for text in [bomb.as_str(), &deep, &nested, &"---\na: 1\n".repeat(10_000), "\u{0}", "a: !!binary x"] {
            assert!(parse(text).is_err(), "{:?}", text.get(..40));
        }
    }
}
