//! A migrator in another process: what it is asked goes there in a variable, what it answers comes back in what it prints.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use serde::{Deserialize, Serialize};

use crate::{
    Context, Effect, Error, ErrorKind, ErrorRecord, Result,
    backend::{Backup, BackupLevel, DataCheck, Measurements, MigrationPlan, MigrationReport, Migrator},
    vocabulary::{EnvironmentName, MigrationVersion},
};

const OPERATION: &str = "migrator.answer";

/// The variable that holds the question, as JSON.
pub const QUESTION: &str = "ECOLAURA_DEPLOY_QUESTION";

/// What the lines of an answer begin with; then `2/3 `, and a piece of the JSON.
const MARK: &str = "ecolaura-deploy answer ";

/// The longest piece of an answer in a line, in bytes. Container runtimes cut lines at 16 KiB.
const PIECE: usize = 8 * 1024;

/// One call of a [`Migrator`], with who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Question {
    /// The environment that is deployed to.
    pub environment: EnvironmentName,
    /// The fencing token of who asks; see [`crate::fence`].
    pub epoch: u64,
    /// What is asked.
    pub call: Call,
}

/// A method of [`Migrator`] with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Call {
    /// [`Migrator::plan`].
    Plan,
    /// [`Migrator::migrate`] to this version.
    Migrate(MigrationVersion),
    /// [`Migrator::revert`] to this version.
    Revert(MigrationVersion),
    /// [`Migrator::backup`].
    Backup {
        /// Under this key.
        key: String,
        /// Proven to this level.
        level: BackupLevel,
    },
    /// [`Migrator::restore`] of this backup.
    Restore(Backup),
    /// [`Migrator::measure`] of these.
    Measure(Vec<DataCheck>),
}

impl Call {
    /// Whether it changes nothing.
    pub fn reads(&self) -> bool {
        matches!(self, Self::Plan | Self::Measure(_))
    }
}

/// What a migrator answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// To [`Call::Plan`].
    Plan(MigrationPlan),
    /// To [`Call::Migrate`] and [`Call::Revert`].
    Report(MigrationReport),
    /// To [`Call::Backup`].
    Backup(Backup),
    /// To [`Call::Restore`]: where the replaced database is.
    Restored(PathBuf),
    /// To [`Call::Measure`].
    Measured(Measurements),
    /// To any: it failed.
    Failed(ErrorRecord),
}

impl Question {
    /// `call` by who `cx` is.
    pub fn new(cx: &Context, call: Call) -> Self {
        Self { environment: cx.environment().clone(), epoch: cx.epoch(), call }
    }

    /// The value of [`QUESTION`].
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::internal(OPERATION, "the question cannot be written").with_source(error))
    }

    /// The question in [`QUESTION`]'s value. Fails with `InvalidInput`.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| {
            Error::invalid(OPERATION, format!("`{QUESTION}` holds no question: {error}"))
                .advice("let the program be built with the version of ecolaura-deploy that asks it")
        })
    }

    /// Asks `migrator`, for the environment and the epoch of the question.
    pub async fn ask(&self, migrator: &dyn Migrator) -> Answer {
        let cx = &Context::new(self.environment.clone()).with_epoch(self.epoch);
        let answer = match &self.call {
            Call::Plan => migrator.plan(cx).await.map(Answer::Plan),
            Call::Migrate(target) => migrator.migrate(cx, *target).await.map(Answer::Report),
            Call::Revert(target) => migrator.revert(cx, *target).await.map(Answer::Report),
            Call::Backup { key, level } => migrator.backup(cx, key, *level).await.map(Answer::Backup),
            Call::Restore(backup) => migrator.restore(cx, backup).await.map(Answer::Restored),
            Call::Measure(checks) => migrator.measure(cx, checks).await.map(Answer::Measured),
        };
        answer.unwrap_or_else(|error| Answer::Failed(ErrorRecord::from(&error)))
    }
}

impl Answer {
    /// The lines to print.
    pub fn lines(&self) -> Result<Vec<String>> {
        let json = serde_json::to_string(self)
            .map_err(|error| Error::internal(OPERATION, "the answer cannot be written").with_source(error))?;
        let pieces = pieces(&json);
        let all = pieces.len();
        Ok(pieces.into_iter().zip(1..).map(|(piece, number)| format!("{MARK}{number}/{all} {piece}")).collect())
    }

    /// The answer among the lines that a process printed; other lines may stand between. `None` if there is none, or not
    /// the whole of it. Fails with `Corrupt` if it is not one.
    pub fn find<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Option<Self>> {
        let mut json = String::new();
        let (mut found, mut whole) = (0, false);
        for line in lines {
            let Some((number, all, piece)) = parse(line) else { continue };
            if number == 1 {
                (json, found) = (String::new(), 0);
            }
            if number != found + 1 {
                continue;
            }
            json.push_str(piece);
            found = number;
            whole = number == all;
        }
        if !whole {
            return Ok(None);
        }
        let read = serde_json::from_str(&json);
        read.map(Some).map_err(|error| {
            Error::new(ErrorKind::Corrupt, OPERATION, format!("the migrator's answer cannot be read: {error}"))
                .with_effect(Effect::Unknown)
                .advice("let the program be built with the version of ecolaura-deploy that asks it")
        })
    }

    /// Whether `line` is part of an answer.
    pub fn is_part(line: &str) -> bool {
        parse(line).is_some()
    }

    /// `answer`, unless it failed or is another's.
    fn expect<T>(self, take: impl FnOnce(Self) -> std::result::Result<T, Self>) -> Result<T> {
        match take(self) {
            Ok(answer) => Ok(answer),
            Err(Self::Failed(record)) => Err(Error::from(record)),
            Err(other) => {
                let message = format!("the migrator answered something else: {other:?}");
                Err(Error::new(ErrorKind::Corrupt, OPERATION, message).with_effect(Effect::Unknown))
            }
        }
    }

    /// The answer to [`Call::Plan`], or the error that the migrator answered.
    pub fn into_plan(self) -> Result<MigrationPlan> {
        self.expect(|answer| if let Self::Plan(plan) = answer { Ok(plan) } else { Err(answer) })
    }

    /// The answer to [`Call::Migrate`] and [`Call::Revert`], or the error.
    pub fn into_report(self) -> Result<MigrationReport> {
        self.expect(|answer| if let Self::Report(report) = answer { Ok(report) } else { Err(answer) })
    }

    /// The answer to [`Call::Backup`], or the error.
    pub fn into_backup(self) -> Result<Backup> {
        self.expect(|answer| if let Self::Backup(backup) = answer { Ok(backup) } else { Err(answer) })
    }

    /// The answer to [`Call::Restore`], or the error.
    pub fn into_restored(self) -> Result<PathBuf> {
        self.expect(|answer| if let Self::Restored(path) = answer { Ok(path) } else { Err(answer) })
    }

    /// The answer to [`Call::Measure`], or the error.
    pub fn into_measured(self) -> Result<Measurements> {
        self.expect(|answer| if let Self::Measured(found) = answer { Ok(found) } else { Err(answer) })
    }
}

fn parse(line: &str) -> Option<(usize, usize, &str)> {
    let (count, piece) = line.strip_prefix(MARK)?.split_once(' ')?;
    let (number, all) = count.split_once('/')?;
    Some((number.parse().ok()?, all.parse().ok()?, piece))
}

fn pieces(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while text.len() > PIECE {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
        pieces.push(piece);
        text = rest;
    }
    pieces.push(text);
    pieces
}

/// Answers the question that this process was started with, by printing to standard output; `None` if it was started with
/// none. For the `main` of a program that stands in an image beside the migrations:
///
/// ```no_run
/// # async fn example(migrator: &dyn ecolaura_deploy_core::backend::Migrator) {
/// if let Some(code) = ecolaura_deploy_core::migration::serve(migrator).await {
///     std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
/// }
/// # }
/// ```
///
/// The code says whether the migrator succeeded. The question is in the variable [`QUESTION`]. Cancelled by the end of
/// the process only, which a [`Migrator`] must stand.
pub async fn serve(migrator: &dyn Migrator) -> Option<ExitCode> {
    let text = std::env::var(QUESTION).ok()?;
    let answer = match Question::from_json(&text) {
        Ok(question) => question.ask(migrator).await,
        Err(error) => Answer::Failed(ErrorRecord::from(&error)),
    };
    let (lines, code) = match answer.lines() {
        Ok(lines) => (lines, if matches!(answer, Answer::Failed(_)) { ExitCode::FAILURE } else { ExitCode::SUCCESS }),
        Err(error) => (vec![error.report()], ExitCode::FAILURE),
    };
    let text = lines.join("\n") + "\n";
    let written = std::io::stdout().write_all(text.as_bytes());
    Some(if written.is_ok() { code } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backend::Migration, vocabulary::MigrationChecksum};

    fn plan(sql: &str) -> Answer {
        let checksum = MigrationChecksum::new(sql);
        let pending = vec![Migration::new(MigrationVersion(2), "pots", checksum, sql, true)];
        Answer::Plan(MigrationPlan::new(vec![MigrationVersion(1)], pending))
    }

    #[test]
    fn an_answer_is_found_among_what_else_is_printed() {
        let long = "ä".repeat(3 * PIECE);
        let lines = plan(&long).lines().unwrap();
        assert!(lines.len() > 5 && lines.iter().all(|line| line.len() < 2 * PIECE), "{}", lines.len());
        let noisy = lines.iter().flat_map(|line| [line.as_str(), "connected to the database"]);
        assert_eq!(Answer::find(noisy).unwrap(), Some(plan(&long)));
    }

    #[test]
    fn what_is_not_whole_is_no_answer() {
        let lines = plan(&"x".repeat(3 * PIECE)).lines().unwrap();
        let strs: Vec<&str> = lines.iter().map(String::as_str).collect();
        for missing in 0..strs.len() {
            let rest = strs.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, line)| *line);
            assert_eq!(Answer::find(rest).unwrap(), None, "without piece {missing}");
        }
        assert_eq!(Answer::find(["nothing of it"]).unwrap(), None);
        assert_eq!(Answer::find([format!("{MARK}1/1 no json").as_str()]).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn the_last_answer_counts() {
        let (first, second) = (plan("1").lines().unwrap(), plan("2").lines().unwrap());
        let all = first.iter().chain(&second).map(String::as_str);
        assert_eq!(Answer::find(all).unwrap(), Some(plan("2")), "a container that was started again");
    }

    #[test]
    fn an_error_is_the_same_on_both_sides() {
        let error = Error::new(ErrorKind::MigrationDirty, "migrator.plan", "version 3 was begun and not ended")
            .with_effect(Effect::Partial)
            .advice("look at it");
        let told = Answer::Failed(ErrorRecord::from(&error)).into_plan().unwrap_err();
        assert_eq!(
            (told.kind(), told.effect(), told.advice_text()),
            (error.kind(), error.effect(), error.advice_text())
        );
        assert!(told.report().contains("version 3 was begun and not ended"), "{}", told.report());
    }

    #[test]
    fn another_answer_than_asked_for_is_told() {
        let error = plan("1").into_backup().unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Corrupt, Effect::Unknown));
    }
}
