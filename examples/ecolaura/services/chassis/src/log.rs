//! Logs: one JSON object a line on the standard output.

use std::{
    io::Write,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// What a service did.
    Info,
    /// What somebody should look at.
    Warn,
    /// What failed.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl FromStr for Level {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Debug, Self::Info, Self::Warn, Self::Error].into_iter().find(|level| level.name() == text).ok_or(())
    }
}

/// Writes lines of one service.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    service: &'static str,
    level: Level,
}

impl Log {
    /// Lines of `service` from `level` on.
    pub fn new(service: &'static str, level: Level) -> Self {
        Self { service, level }
    }

    /// Writes `message` with the members of the object `fields`. A reader that has gone away is no failure.
    pub fn write(self, level: Level, message: &str, fields: Value) {
        if level < self.level {
            return;
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut line = self.line(level, u64::try_from(time).unwrap_or(u64::MAX), message, fields).to_string();
        line.push('\n');
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }

    /// `time_ms` counts from 1970.
    fn line(self, level: Level, time_ms: u64, message: &str, fields: Value) -> Value {
        let mut line = json!({
            "time_ms": time_ms, "level": level.name(), "service": self.service, "message": message,
        });
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_whatever_the_message_holds() {
        let log = Log::new("backend", Level::Info);
        let line = log.line(Level::Warn, 5, "two\nlines \"quoted\"", json!({"code": 500})).to_string();
        assert!(!line.contains('\n'));
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["message"], "two\nlines \"quoted\"");
        assert_eq!((&read["level"], &read["code"]), (&json!("warn"), &json!(500)));
    }
}
