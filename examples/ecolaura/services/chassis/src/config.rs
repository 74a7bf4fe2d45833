//! What the environment says.

use std::{net::IpAddr, path::PathBuf};

use crate::{Level, Misbehaviour};

/// The configuration of a service. It has no `Debug`: it holds a secret.
pub struct Config {
    /// `HOST`, the address to listen on; 127.0.0.1 by default.
    pub host: IpAddr,
    /// `PORT`; 8080 by default.
    pub port: u16,
    /// `DATABASE_PATH`.
    pub database: PathBuf,
    /// `FLAGS_PATH`: feature flags in flagd's format. None are on without it.
    pub flags: Option<PathBuf>,
    /// `LOG_LEVEL`; `info` by default.
    pub level: Level,
    /// `MISBEHAVE`; `none` by default.
    pub misbehaviour: Misbehaviour,
    /// `TRACK`: `stable` or `candidate`, where something else than the platform's proxy sends requests here; answers tell.
    pub track: Option<String>,
    /// `API_TOKEN`: opens what only an administrator may do. Nobody may without it.
    pub token: Option<String>,
}

impl Config {
    /// Reads variables through `get`. Fails with every problem, one a line, without the secret.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let mut problems = Vec::new();
        let host = parsed(get, "HOST", "an IP address", &mut problems);
        let port = parsed(get, "PORT", "a port", &mut problems);
        let level = parsed(get, "LOG_LEVEL", "debug, info, warn or error", &mut problems);
        let misbehaviour = parsed(get, "MISBEHAVE", Misbehaviour::EXPECTED, &mut problems);
        let database = get("DATABASE_PATH");
        if database.is_none() {
            problems.push("DATABASE_PATH is missing, expected the path of the SQLite database".to_owned());
        }
        match database {
            Some(database) if problems.is_empty() => Ok(Self {
                host: host.unwrap_or(IpAddr::from([127, 0, 0, 1])),
                port: port.unwrap_or(8080),
                database: database.into(),
                flags: get("FLAGS_PATH").map(PathBuf::from),
                level: level.unwrap_or(Level::Info),
                misbehaviour: misbehaviour.unwrap_or(Misbehaviour::None),
                track: get("TRACK"),
                token: get("API_TOKEN"),
            }),
            _ => Err(problems.join("\n")),
        }
    }
}

fn parsed<T: std::str::FromStr>(
    get: impl Fn(&str) -> Option<String>,
    name: &str,
    expected: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    let text = get(name)?;
    let value = text.parse().ok();
    if value.is_none() {
        problems.push(format!("{name} is `{text}`, expected {expected}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        Config::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn only_the_database_has_no_default() {
        let config = read(&[("DATABASE_PATH", "a.db"), ("MISBEHAVE", "")]).ok().unwrap();
        assert_eq!((config.host.to_string().as_str(), config.port), ("127.0.0.1", 8080));
        assert_eq!(config.misbehaviour, Misbehaviour::None);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let problems = read(&[("PORT", "x"), ("HOST", "here"), ("LOG_LEVEL", "loud")]).err().unwrap();
        for name in ["PORT is `x`", "HOST is `here`", "LOG_LEVEL", "DATABASE_PATH is missing"] {
            assert!(problems.contains(name), "{problems}");
        }
    }
}
