//! The document that says what flags are: pure.

use ecolaura_deploy_core::{Error, ErrorKind, Result, backend::FlagState};
use serde_json::{Map, Value, json};

/// The attribute that says which variant is served.
const VARIANT: &str = "variant";

/// What a flag has in the place of one value if `AppConfig` itself chooses between several by rules.
const RULED: &str = "_variants";

/// A document of `AppConfig`'s feature flags, or of flagd's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    json: Value,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `{"version": "1", "flags": {NAME: {"attributes": …}}, "values": {NAME: {"enabled": …}}}`
    AppConfig,
    /// `{"flags": {NAME: {"state": …, "variants": …, "defaultVariant": …}}}`
    Flagd,
}

impl Document {
    /// Fails with `Corrupt` if it is neither.
    pub(super) fn read(operation: &'static str, bytes: &[u8]) -> Result<Self> {
        let corrupt =
            |why: String| Error::new(ErrorKind::Corrupt, operation, format!("the flags cannot be read: {why}"));
        let json: Value = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        if !json["flags"].is_object() {
            return Err(corrupt("they have no `flags`".to_owned()));
        }
        let form = if json["values"].is_object() { Form::AppConfig } else { Form::Flagd };
        Ok(Self { json, form })
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.json.to_string().into_bytes()
    }

    /// Whether it says what `other` says; `AppConfig` adds times of its own when it stores a document.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.form == other.form && plain(&self.json) == plain(&other.json)
    }

    pub(super) fn state(&self, operation: &'static str, flag: &str) -> Result<FlagState> {
        let known = self.known(operation, flag)?;
        let said = |value: &Value| value.as_str().map(str::to_owned);
        match self.form {
            Form::Flagd => {
                Ok(FlagState::new(known["state"] != "DISABLED", said(&known["defaultVariant"]).unwrap_or_default()))
            }
            Form::AppConfig => {
                let value = &self.json["values"][flag];
                let enabled = value["enabled"] == true;
                let variant = said(&value[VARIANT]).unwrap_or_else(|| plain_variant(enabled).to_owned());
                Ok(FlagState::new(enabled, variant))
            }
        }
    }

    /// Fails with `InvalidInput` if the flag has no such variant.
    pub(super) fn set(&mut self, operation: &'static str, flag: &str, to: &FlagState) -> Result<()> {
        let variants = self.variants(self.known(operation, flag)?);
        let fits = match &variants {
            Some(variants) => variants.contains(&to.variant),
            None => to.variant == plain_variant(to.enabled),
        };
        if !fits {
            let there =
                variants.map_or_else(|| "`on` where it is enabled, `off` where not".to_owned(), |all| all.join(", "));
            let message = format!("`{flag}` cannot be {to}; its variants: {there}");
            return Err(Error::invalid(operation, message).advice("name a variant that the flag has, or add it first"));
        }
        match self.form {
            Form::Flagd => {
                let known = &mut self.json["flags"][flag];
                known["state"] = json!(if to.enabled { "ENABLED" } else { "DISABLED" });
                known["defaultVariant"] = json!(to.variant);
            }
            Form::AppConfig => {
                let value = &mut self.json["values"][flag];
                if !value.is_object() {
                    *value = json!({});
                }
                value["enabled"] = json!(to.enabled);
                if variants.is_some() {
                    value[VARIANT] = json!(to.variant);
                }
            }
        }
        Ok(())
    }

    /// The variants that are listed; `None` of a flag that is only on or off.
    fn variants(&self, known: &Value) -> Option<Vec<String>> {
        match self.form {
            Form::Flagd => Some(known["variants"].as_object().into_iter().flat_map(Map::keys).cloned().collect()),
            Form::AppConfig => {
                let listed = known["attributes"][VARIANT]["constraints"]["enum"].as_array()?;
                Some(listed.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
            }
        }
    }

    fn known(&self, operation: &'static str, flag: &str) -> Result<&Value> {
        let known = self.json["flags"].get(flag).ok_or_else(|| {
            let there = self.json["flags"].as_object().into_iter().flat_map(Map::keys);
            let there = there.map(String::as_str).collect::<Vec<_>>().join(", ");
            Error::new(ErrorKind::NotFound, operation, format!("there is no flag `{flag}`; there are: {there}"))
        })?;
        if self.form == Form::AppConfig && self.json["values"][flag].get(RULED).is_some() {
            let message = format!("`{flag}` has variants that AppConfig chooses between by rules (`{RULED}`)");
            return Err(Error::new(ErrorKind::Unsupported, operation, message)
                .with("expected", "one value for everybody")
                .advice("switch it in AppConfig, or take its variants away"));
        }
        Ok(known)
    }
}

fn plain_variant(enabled: bool) -> &'static str {
    if enabled { "on" } else { "off" }
}

/// Without what begins with `_`, which `AppConfig` writes.
fn plain(json: &Value) -> Value {
    match json {
        Value::Object(fields) => {
            let own = |key: &&String| matches!(key.as_str(), "_createdAt" | "_updatedAt");
            Value::Object(
                fields.iter().filter(|(key, _)| !own(key)).map(|(key, value)| (key.clone(), plain(value))).collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_without_variants_is_on_or_off_and_what_else_is_said_stays() {
        let text = r#"{"version": "1", "flags": {"a": {"name": "a"}, "b": {"name": "b"}},
            "values": {"a": {"enabled": false, "_updatedAt": "x"}, "b": {"enabled": true, "limit": 3}}}"#;
        let mut document = Document::read("flags.set", text.as_bytes()).unwrap();
        assert_eq!(document.state("flags.set", "a").unwrap(), FlagState::new(false, "off"));
        document.set("flags.set", "a", &FlagState::new(true, "on")).unwrap();
        let error = document.set("flags.set", "a", &FlagState::new(true, "off")).unwrap_err();
        assert!(error.report().contains("`on` where it is enabled"), "{error:?}");
        let again = Document::read("flags.set", &document.bytes()).unwrap();
        assert_eq!(again.json["values"]["b"], json!({"enabled": true, "limit": 3}));
        let newer = text.replace("false", "true").replace("\"x\"", "\"y\"");
        assert!(again.says_the_same(&Document::read("flags.set", newer.as_bytes()).unwrap()));
    }

    #[test]
    fn a_flag_with_variants_by_rules_is_neither_read_nor_written() {
        let text = r#"{"version": "1", "flags": {"a": {"name": "a"}, "b": {"name": "b"}}, "values": {"b": {"enabled": true},
            "a": {"_variants": [{"name": "some", "enabled": true, "rule": "(eq $tier \"beta\")"}, {"name": "others"}]}}}"#;
        let mut document = Document::read("flags.set", text.as_bytes()).unwrap();
        let before = document.clone();
        for error in [
            document.state("flags.get", "a").unwrap_err(),
            document.set("flags.set", "a", &FlagState::new(true, "on")).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.report().contains("`a` has variants that AppConfig chooses between"), "{error:?}");
        }
        assert_eq!(document, before);
        assert_eq!(document.state("flags.get", "b").unwrap(), FlagState::new(true, "on"));
    }

    #[test]
    fn flags_of_flagd_are_read_and_written_too() {
        let text = r#"{"flags": {"a": {"state": "ENABLED", "variants": {"x": 1, "y": 2}, "defaultVariant": "x"}}}"#;
        let mut document = Document::read("flags.set", text.as_bytes()).unwrap();
        document.set("flags.set", "a", &FlagState::new(false, "y")).unwrap();
        assert_eq!(document.state("flags.set", "a").unwrap(), FlagState::new(false, "y"));
        for wrong in ["[]", "{", "{\"values\": {}}"] {
            assert_eq!(Document::read("flags.get", wrong.as_bytes()).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
