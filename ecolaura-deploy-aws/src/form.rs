//! Forms, as the services with XML are asked by: for fakes of them.

use std::collections::BTreeMap;

/// The fields of a form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (decoded(key), decoded(value))).collect())
    }

    /// The same with the values of the fields that are `insensitive` in lower case.
    #[cfg(feature = "rds")]
    pub(crate) fn lower(mut self, insensitive: impl Fn(&str) -> bool) -> Self {
        let values = self.0.iter_mut().filter(|(key, _)| insensitive(key.as_str()));
        values.for_each(|(_, value)| *value = value.to_lowercase());
        self
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The value of `key`; empty if there is none.
    pub(crate) fn text(&self, key: &str) -> String {
        self.get(key).unwrap_or_default().to_owned()
    }

    /// The values of `key.1`, `key.2` and so on.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        (1..).map_while(|number| self.get(&format!("{key}.{number}")).map(str::to_owned)).collect()
    }

    /// The pairs of `key.1.Key` and `key.1.Value` and so on.
    pub(crate) fn pairs(&self, key: &str) -> BTreeMap<String, String> {
        let pair = |number: u32| {
            let name = self.get(&format!("{key}.{number}.Key"))?.to_owned();
            Some((name, self.text(&format!("{key}.{number}.Value"))))
        };
        (1..).map_while(pair).collect()
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (hex(rest.next()), hex(rest.next())) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(b'?'),
                _ => b'?',
            },
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_meant() {
        let form = Form::parse("Action=Do+it&Tags.Tag.1.Key=a%3Ab&Tags.Tag.1.Value=%C3%A4&Ids.Id.1=x&Ids.Id.2=y");
        assert_eq!(form.text("Action"), "Do it");
        assert_eq!(form.pairs("Tags.Tag"), [("a:b".to_owned(), "ä".to_owned())].into());
        assert_eq!(form.list("Ids.Id"), ["x", "y"]);
        assert_eq!(form.text("Nothing"), "");
    }
}
