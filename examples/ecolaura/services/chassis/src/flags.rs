//! Feature flags in a file of flagd's definition format, read each time: a switch counts from the next request on.

use std::path::PathBuf;

use serde_json::{Map, Value};

/// Where the flags are.
#[derive(Debug)]
pub struct Flags(Option<PathBuf>);

impl Flags {
    /// The flags in the file `path`; `None` has none.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// The default of every flag that is enabled. A file that cannot be read has none.
    pub fn all(&self) -> Map<String, Value> {
        let text = self.0.as_ref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        evaluate(&serde_json::from_slice(&text).unwrap_or_default())
    }

    /// Whether `flag` is there and on.
    pub fn is_on(&self, flag: &str) -> bool {
        self.all().get(flag) == Some(&Value::Bool(true))
    }
}

fn evaluate(file: &Value) -> Map<String, Value> {
    let Some(flags) = file["flags"].as_object() else { return Map::new() };
    let enabled = flags.iter().filter(|(_, flag)| flag["state"] == "ENABLED");
    let values = enabled.filter_map(|(name, flag)| {
        let value = flag["variants"].get(flag["defaultVariant"].as_str()?)?;
        Some((name.clone(), value.clone()))
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_enabled_flags_answer_and_by_their_default() {
        let flag =
            |state, default| json!({"state": state, "variants": {"on": true, "off": false}, "defaultVariant": default});
        let file = json!({"flags": {
            "a": flag("ENABLED", "on"), "b": flag("ENABLED", "off"), "c": flag("DISABLED", "on"), "d": flag("ENABLED", "x"),
        }});
        assert_eq!(Value::Object(evaluate(&file)), json!({"a": true, "b": false}));
        assert!(evaluate(&Value::Null).is_empty());
    }

    #[test]
    fn without_a_file_everything_is_off() {
        assert!(!Flags::new(None).is_on("a"));
        assert!(!Flags::new(Some("/nowhere/flags.json".into())).is_on("a"));
    }
}
