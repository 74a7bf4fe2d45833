//! A `KeyValueStore` of `CloudFront`: one tag for all entries, which each write has to know.

use std::collections::BTreeMap;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{Asked, response};

#[derive(Debug, Default)]
pub(crate) struct FakeEntries {
    pub(crate) entries: BTreeMap<String, String>,
    /// How often anything was written.
    pub(crate) written: u64,
}

impl FakeEntries {
    /// Writes, as anybody does.
    pub(crate) fn plant(&mut self, key: &str, value: &str) {
        self.entries.insert(key.to_owned(), value.to_owned());
        self.written += 1;
    }

    fn tag(&self) -> String {
        format!("tag-{}", self.written)
    }

    pub(super) fn answer(&mut self, asked: &Asked) -> HttpResponse {
        let key = asked.key.rsplit_once("/keys/").map(|(_, key)| key.to_owned());
        match (asked.method.as_str(), key) {
            ("GET", None) => self.described(),
            ("GET", Some(key)) => self.get(&key),
            ("PUT", Some(_)) if asked.headers.get("if-match") != Some(&self.tag()) => refusal(409, "ConflictException"),
            ("PUT", Some(key)) => {
                let value: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
                self.plant(&key, value["Value"].as_str().unwrap());
                self.tagged(r#"{"ItemCount":1,"TotalSizeInBytes":1}"#)
            }
            _ => refusal(404, "ResourceNotFoundException"),
        }
    }

    fn described(&self) -> HttpResponse {
        self.tagged(r#"{"ItemCount":1,"TotalSizeInBytes":1,"KvsARN":"arn","Created":0}"#)
    }

    fn get(&self, key: &str) -> HttpResponse {
        match self.entries.get(key) {
            Some(value) => {
                let body = serde_json::json!({"Key": key, "Value": value, "ItemCount": 1, "TotalSizeInBytes": 1});
                response(200, &body.to_string())
            }
            None => refusal(404, "ResourceNotFoundException"),
        }
    }

    fn tagged(&self, body: &str) -> HttpResponse {
        let mut answer = response(200, body);
        answer.headers_mut().insert("etag", self.tag());
        answer
    }
}

fn refusal(status: u16, code: &'static str) -> HttpResponse {
    let mut answer = response(status, r#"{"Message":"it is so"}"#);
    answer.headers_mut().insert("x-amzn-errortype", code);
    answer
}
