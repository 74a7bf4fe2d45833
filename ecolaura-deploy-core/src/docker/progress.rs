//! What the engine says while it builds.

use std::collections::{BTreeMap, VecDeque};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;
use serde::Deserialize;
use serde_json::Value;

use super::messages::{Log, Progress, Vertex};
use crate::{Context, Error, ErrorKind, Result, event::Stream, vocabulary::Digest};

/// The most that a line of the answer may hold, in bytes.
const LINE: usize = 16 * 1024 * 1024;
/// How many of a step's last lines are kept.
const LAST_WORDS: usize = 10;
/// The most of a line that is shown, in letters.
const SHOWN: usize = 2000;

/// A line of the answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    id: Option<String>,
    aux: Option<Value>,
    error: Option<String>,
    error_detail: Option<Detail>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    message: String,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) name: String,
    pub(super) last_words: Vec<String>,
}

/// All that was said so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    unread: Vec<u8>,
    steps: BTreeMap<String, Step>,
    finished: u64,
    /// The image that was made.
    pub(super) image: Option<Digest>,
    /// Why there is none.
    pub(super) error: Option<String>,
}

#[derive(Debug, Default)]
struct Step {
    name: String,
    started: bool,
    finished: bool,
    broken: bool,
    /// A line that is not finished, of what it wrote to each stream.
    open: BTreeMap<i64, Vec<u8>>,
    last_words: VecDeque<String>,
}

impl Told {
    /// Takes a piece of the answer, and tells `cx` what is new.
    pub(super) fn take(&mut self, cx: &Context, operation: &'static str, piece: &[u8]) -> Result<()> {
        self.unread.extend_from_slice(piece);
        let Some(end) = self.unread.iter().rposition(|byte| *byte == b'\n') else {
            return match self.unread.len() {
                0..=LINE => Ok(()),
                _ => Err(garbled(operation, "a line without an end")),
            };
        };
        let rest = self.unread.split_off(end + 1);
        let whole = std::mem::replace(&mut self.unread, rest);
        let mut lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        lines.try_for_each(|line| self.line(cx, operation, line))
    }

    fn line(&mut self, cx: &Context, operation: &'static str, line: &[u8]) -> Result<()> {
        let line: Line = serde_json::from_slice(line).map_err(|error| garbled(operation, &error.to_string()))?;
        if let Some(error) = line.error_detail.map(|detail| detail.message).or(line.error) {
            self.error.get_or_insert(error);
        }
        match (line.id.as_deref(), line.aux) {
            (Some("moby.buildkit.trace"), Some(Value::String(text))) => {
                let message = STANDARD.decode(text).map_err(|error| garbled(operation, &error.to_string()))?;
                let progress =
                    Progress::decode(message.as_slice()).map_err(|error| garbled(operation, &error.to_string()))?;
                self.progress(cx, progress);
            }
            (Some("moby.image.id"), Some(aux)) => {
                let id = aux.get("ID").and_then(Value::as_str).and_then(|id| id.parse().ok());
                self.image = Some(id.ok_or_else(|| garbled(operation, "an image without an id"))?);
            }
            _ => {}
        }
        Ok(())
    }

    fn progress(&mut self, cx: &Context, progress: Progress) {
        for vertex in progress.vertexes {
            self.vertex(cx, vertex);
        }
        for log in progress.logs {
            self.log(cx, log);
        }
    }

    fn vertex(&mut self, cx: &Context, vertex: Vertex) {
        let step = self.steps.entry(vertex.digest).or_default();
        step.name = clean(cx, &vertex.name);
        // A cancelled step is not what broke the build.
        step.broken |= !vertex.error.is_empty() && !vertex.error.contains("context canceled");
        if vertex.started.is_some() && !step.started {
            step.started = true;
            cx.status(step.name.clone());
        }
        if vertex.completed.is_some() {
            step.close(cx);
        }
        if vertex.completed.is_some() && !step.finished {
            step.finished = true;
            if vertex.cached {
                cx.status(format!("{}: as before", step.name));
            }
            self.finished += 1;
            cx.progress("steps", self.finished, Some(self.steps.len() as u64));
        }
    }

    fn log(&mut self, cx: &Context, log: Log) {
        let step = self.steps.entry(log.vertex).or_default();
        let open = step.open.entry(log.stream).or_default();
        open.extend_from_slice(&log.text);
        while let Some(end) = open.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = open.drain(..=end).collect();
            say(cx, &mut step.last_words, log.stream, &line);
        }
        if open.len() > LINE {
            let line = std::mem::take(open);
            say(cx, &mut step.last_words, log.stream, &line);
        }
    }

    /// The step that failed, if one did, and its last words.
    pub(super) fn broken(&mut self, cx: &Context) -> Option<Broken> {
        let step = self.steps.values_mut().find(|step| step.broken)?;
        step.close(cx);
        Some(Broken { name: step.name.clone(), last_words: step.last_words.iter().cloned().collect() })
    }
}

impl Step {
    /// Says what was written without an end of the line.
    fn close(&mut self, cx: &Context) {
        for (stream, line) in std::mem::take(&mut self.open) {
            say(cx, &mut self.last_words, stream, &line);
        }
    }
}

fn say(cx: &Context, last_words: &mut VecDeque<String>, stream: i64, line: &[u8]) {
    let text = clean(cx, String::from_utf8_lossy(line).trim_end());
    if text.is_empty() {
        return;
    }
    if last_words.len() == LAST_WORDS {
        last_words.pop_front();
    }
    last_words.push_back(text.clone());
    cx.output(if stream == 2 { Stream::Stderr } else { Stream::Stdout }, text);
}

/// `text` without secrets and control letters.
pub(super) fn clean(cx: &Context, text: &str) -> String {
    let redacted = cx.redactor().redact(text);
    redacted.chars().filter(|letter| !letter.is_control() || *letter == '\t').take(SHOWN).collect()
}

fn garbled(operation: &'static str, why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, operation, format!("the engine's word on the build cannot be read: {why}"))
        .advice("use a Docker Engine with BuildKit")
}
