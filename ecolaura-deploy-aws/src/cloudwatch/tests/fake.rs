//! A small `CloudWatch`: series of points by what is asked for, alarms, and the protocol of CBOR.

use std::collections::BTreeMap;

use aws_smithy_cbor::{Decoder, Encoder, data::Type};
use aws_smithy_types::DateTime;
use serde_json::{Map, Value, json};

use crate::fake::{Answer, Asked, FakeAws, unknown};

/// One page of a query's answer.
#[derive(Debug, Clone)]
pub(super) struct Page {
    values: Vec<f64>,
    status: &'static str,
    /// Another series of the same query.
    other: Option<(&'static str, Vec<f64>)>,
    /// How many seconds after the beginning of the question the first point is.
    late: i64,
}

impl Page {
    pub(super) fn new(values: &[f64], status: &'static str) -> Self {
        Self { values: values.to_vec(), status, other: None, late: 0 }
    }

    pub(super) fn beside(self, name: &'static str, values: &[f64]) -> Self {
        Self { other: Some((name, values.to_vec())), ..self }
    }

    pub(super) fn late(self, seconds: i64) -> Self {
        Self { late: seconds, ..self }
    }

    /// Its series as the answer has them, where `query` asks from `start` on.
    fn results(&self, query: &Value, start: i64) -> Vec<Value> {
        let first = start + self.late;
        let result = |label: &str, values: &[f64]| {
            let times = (0..).zip(values).map(|(number, _)| first + number * period(query));
            json!({"Id": query["Id"], "Label": label, "Values": values, "StatusCode": self.status,
                "Timestamps": times.collect::<Vec<i64>>()})
        };
        let label = query["Id"].as_str().unwrap_or_default();
        let other = self.other.iter().map(|(name, values)| result(name, values));
        std::iter::once(result(label, &self.values)).chain(other).collect()
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct FakeCloudWatch {
    series: BTreeMap<String, Vec<Page>>,
    alarms: BTreeMap<String, &'static str>,
    composites: BTreeMap<String, &'static str>,
}

impl FakeCloudWatch {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The points of `METRIC/TRACK[/LABEL]/STATISTIC`, or of an expression.
    pub(super) fn series(self, name: &str, values: &[f64]) -> Self {
        self.pages(name, [Page::new(values, "Complete")])
    }

    pub(super) fn pages<const N: usize>(mut self, name: &str, pages: [Page; N]) -> Self {
        self.series.insert(name.to_owned(), pages.into());
        self
    }

    pub(super) fn alarm(mut self, name: &str, state: &'static str) -> Self {
        self.alarms.insert(name.to_owned(), state);
        self
    }

    /// An alarm of other alarms, which is shown to who asks for such.
    pub(super) fn composite(mut self, name: &str, state: &'static str) -> Self {
        self.composites.insert(name.to_owned(), state);
        self
    }

    pub(super) fn serve(self) -> FakeAws {
        FakeAws::new(move |asked: &Asked| {
            let body = || decoded(&mut Decoder::new(&asked.bytes));
            match asked.operation.rsplit('/').next().unwrap_or_default() {
                "GetMetricData" => answer(&self.data(&body())),
                "DescribeAlarms" => answer(&self.describe(&body())),
                _ => unknown(),
            }
        })
    }

    /// The page that the token names of each query; without points where nothing is known.
    fn data(&self, body: &Value) -> Value {
        let page: usize = body["NextToken"].as_str().unwrap_or("0").parse().unwrap();
        let start = body["StartTime"].as_i64().unwrap();
        let mut further = false;
        let results: Vec<_> = body["MetricDataQueries"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|query| {
                let pages = self.series.get(&key(query)).cloned().unwrap_or_default();
                further |= pages.len() > page + 1;
                let found = pages.get(page).cloned().unwrap_or_else(|| Page::new(&[], "Complete"));
                found.results(query, start)
            })
            .collect();
        let mut answer = json!({"MetricDataResults": results});
        if further {
            answer["NextToken"] = json!((page + 1).to_string());
        }
        answer
    }

    fn describe(&self, body: &Value) -> Value {
        let names = body["AlarmNames"].as_array().unwrap().iter().filter_map(Value::as_str);
        let found = |of: &BTreeMap<String, &'static str>| -> Vec<_> {
            let found = names.clone().filter_map(|name| of.get(name).map(|state| (name, state)));
            // What a reason says of others is not what the alarm says.
            let reason = "other: OK: of a test";
            found.map(|(name, state)| json!({"AlarmName": name, "StateValue": state, "StateReason": reason})).collect()
        };
        let of_others = body["AlarmTypes"].as_array().is_some_and(|types| types.contains(&json!("CompositeAlarm")));
        let composites = if of_others { found(&self.composites) } else { Vec::new() };
        json!({"MetricAlarms": found(&self.alarms), "CompositeAlarms": composites})
    }
}

/// How long each point of a query is, in seconds.
fn period(query: &Value) -> i64 {
    let period = [&query["Period"], &query["MetricStat"]["Period"]].into_iter().find_map(Value::as_i64);
    period.unwrap()
}

fn key(query: &Value) -> String {
    if let Some(expression) = query["Expression"].as_str() {
        return expression.to_owned();
    }
    let metric = &query["MetricStat"]["Metric"];
    let dimensions = metric["Dimensions"].as_array().cloned().unwrap_or_default();
    let value = |name: &str| dimensions.iter().find(|known| known["Name"] == name).map(|known| known["Value"].clone());
    let labels = [value("Track"), value("kind")].into_iter().flatten();
    let parts = [metric["MetricName"].clone()].into_iter().chain(labels).chain([query["MetricStat"]["Stat"].clone()]);
    parts.map(|part| part.as_str().unwrap_or("?").to_owned()).collect::<Vec<_>>().join("/")
}

/// What was asked for: namespace, metric, statistic, period and dimensions of each query.
pub(super) fn asked(fake: &FakeAws) -> Vec<String> {
    let line = |query: &Value| {
        let (stat, metric) = (&query["MetricStat"], &query["MetricStat"]["Metric"]);
        let dimensions = metric["Dimensions"].as_array().cloned().unwrap_or_default();
        let dimensions = dimensions.iter().map(|known| format!("{}={}", text(&known["Name"]), text(&known["Value"])));
        let dimensions = dimensions.collect::<Vec<_>>().join(" ");
        let (namespace, name) = (text(&metric["Namespace"]), text(&metric["MetricName"]));
        format!("{namespace} {name} {} {} {dimensions}", text(&stat["Stat"]), stat["Period"])
    };
    let asked = fake.asked();
    let bodies = asked.iter().map(|asked| decoded(&mut Decoder::new(&asked.bytes)));
    bodies
        .flat_map(|body| body["MetricDataQueries"].as_array().cloned().unwrap_or_default())
        .map(|q| line(&q))
        .collect()
}

/// How long each point of the first question's queries is.
pub(super) fn periods(fake: &FakeAws) -> Vec<i64> {
    let body = decoded(&mut Decoder::new(&fake.asked()[0].bytes));
    body["MetricDataQueries"].as_array().unwrap().iter().map(period).collect()
}

/// From when to when the first question asks.
pub(super) fn times(fake: &FakeAws) -> [i64; 2] {
    let body = decoded(&mut Decoder::new(&fake.asked()[0].bytes));
    ["StartTime", "EndTime"].map(|name| body[name].as_i64().unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn answer(body: &Value) -> Answer {
    let mut encoder = Encoder::new(Vec::new());
    encode(&mut encoder, body);
    let headers = vec![("smithy-protocol", "rpc-v2-cbor".to_owned())];
    Answer::Full { status: 200, headers, body: encoder.into_writer() }
}

pub(super) fn refusal(status: u16, code: &str) -> Answer {
    let Answer::Full { headers, body, .. } = answer(&json!({"__type": code, "message": "no"})) else { unreachable!() };
    Answer::Full { status, headers, body }
}

fn encode(encoder: &mut Encoder, value: &Value) {
    match value {
        Value::Object(fields) => {
            encoder.map(fields.len());
            for (key, value) in fields {
                encoder.str(key);
                match (key.as_str(), value.as_array()) {
                    ("Timestamps", Some(times)) => {
                        encoder.array(times.len());
                        let times = times.iter().filter_map(Value::as_i64);
                        for time in times {
                            encoder.timestamp(&DateTime::from_secs(time));
                        }
                    }
                    _ => encode(encoder, value),
                }
            }
        }
        Value::Array(items) => {
            encoder.array(items.len());
            items.iter().for_each(|item| encode(encoder, item));
        }
        Value::String(text) => drop(encoder.str(text)),
        Value::Number(number) => drop(encoder.double(number.as_f64().unwrap())),
        Value::Bool(flag) => drop(encoder.boolean(*flag)),
        Value::Null => drop(encoder.null()),
    }
}

fn decoded(decoder: &mut Decoder<'_>) -> Value {
    match decoder.datatype().unwrap() {
        Type::Map | Type::MapIndef => {
            let mut fields = Map::new();
            let mut left = decoder.map().unwrap();
            while more(decoder, &mut left) {
                let key = decoder.string().unwrap();
                fields.insert(key, decoded(decoder));
            }
            Value::Object(fields)
        }
        Type::Array | Type::ArrayIndef => {
            let mut items = Vec::new();
            let mut left = decoder.list().unwrap();
            while more(decoder, &mut left) {
                items.push(decoded(decoder));
            }
            Value::Array(items)
        }
        Type::String | Type::StringIndef => Value::String(decoder.string().unwrap()),
        Type::Bool => Value::Bool(decoder.boolean().unwrap()),
        Type::Tag => json!(decoder.timestamp().unwrap().secs()),
        Type::F32 | Type::F64 => json!(decoder.double().unwrap()),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
            json!(decoder.long().unwrap())
        }
        other => panic!("{other:?}"),
    }
}

/// Whether a map or a list has more; one of no said length ends with a break.
fn more(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => false,
        Some(number) => {
            *number -= 1;
            true
        }
        None if decoder.datatype().unwrap() == Type::Break => {
            decoder.skip().unwrap();
            false
        }
        None => true,
    }
}
