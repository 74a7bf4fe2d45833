//! Why a build failed, in words that name the line.

use std::collections::BTreeMap;

use super::{build_file::BuildFile, progress::Broken};
use crate::{Error, ErrorKind};

/// What comes before BuildKit's own words.
const PREAMBLES: [&str; 5] = [
    "failed to solve with frontend dockerfile.v0: ",
    "failed to solve: ",
    "failed to create LLB definition: ",
    "failed to read dockerfile: ",
    "rpc error: code = Unknown desc = ",
];

/// What BuildKit says where a registry wants another login.
const REFUSALS: [&str; 5] =
    ["pull access denied", "authorization failed", "401 Unauthorized", "403 Forbidden", "failed to fetch oauth token"];

/// The error of a build of `file`, the build file at `path`, that the engine ended with `said`, perhaps in the step
/// `broken`.
pub(super) fn explain(
    operation: &'static str,
    (path, file): (&str, &str),
    said: &str,
    broken: Option<Broken>,
) -> Error {
    let said = without_preambles(said);
    let Some(broken) = broken else { return of_the_file(operation, (path, file), said) };
    let line = BuildFile::parse(file).line(&broken.name);
    let at = line.map_or_else(|| format!("`{path}`"), |line| format!("`{path}`, line {line}"));
    let missing = said.contains("not found") && !said.contains("exit code");
    let kind = if missing { ErrorKind::NotFound } else { ErrorKind::CommandFailed };
    let error = Error::new(kind, operation, format!("{at}: the step failed: {said}")).with("step", &broken.name);
    let error = match broken.last_words.is_empty() {
        true => error,
        false => error.with("its last words", broken.last_words.join(" | ")),
    };
    error.advice(match missing {
        true => "see that what it names is there, and not left out by `.dockerignore`",
        false => "mend the step and run again; the steps before it are in the engine's cache",
    })
}

/// The error of a build that a registry refused; `None` if none did. `told` has the registries that wanted a login, and
/// whose they got.
pub(super) fn refused(
    operation: &'static str,
    path: &str,
    said: &str,
    (broken, told): (Option<&Broken>, &BTreeMap<String, String>),
) -> Option<Error> {
    let said = without_preambles(said);
    if !REFUSALS.iter().any(|words| said.contains(words)) {
        return None;
    }
    let pulled = broken.map(|broken| broken.name.as_str()).unwrap_or_default();
    let concerned = told.iter().filter(|(host, _)| pulled.contains(host.as_str()) || said.contains(host.as_str()));
    let concerned: Vec<_> = match concerned.collect::<Vec<_>>() {
        none if none.is_empty() => told.iter().collect(),
        some => some,
    };
    if concerned.is_empty() {
        return None;
    }
    let refusals: Vec<_> = concerned.iter().map(|(host, who)| format!("`{host}` does not let {who} pull")).collect();
    let hosts: Vec<_> = concerned.iter().map(|(host, _)| format!("`{host}`")).collect();
    let error = Error::new(ErrorKind::Unauthenticated, operation, format!("`{path}`: {}: {said}", refusals.join(", ")));
    let error = if pulled.is_empty() { error } else { error.with("step", pulled) };
    Some(error.advice(format!(
        "give the builder credentials for {} that may pull, and see that the image's name is right; nothing was built",
        hosts.join(" and ")
    )))
}

fn without_preambles(said: &str) -> &str {
    let mut said = said;
    while let Some(rest) = PREAMBLES.iter().find_map(|preamble| said.strip_prefix(preamble)) {
        said = rest;
    }
    said
}

/// What is wrong with the build file itself, which BuildKit says in several ways.
fn of_the_file(operation: &'static str, (path, file): (&str, &str), said: &str) -> Error {
    if let Some((line, what)) = said.strip_prefix("dockerfile parse error ").and_then(numbered) {
        return at_line(operation, (path, file), line, what);
    }
    if let Some((line, what)) = said.strip_prefix("Dockerfile parse error ").and_then(numbered) {
        return at_line(operation, (path, file), line, what);
    }
    if let Some(stage) = said.strip_prefix("target stage ").and_then(|rest| rest.strip_suffix(" could not be found")) {
        return Error::invalid(operation, format!("`{path}` has no stage {stage}"))
            .advice("name a stage of the build file as the target");
    }
    Error::new(ErrorKind::CommandFailed, operation, format!("`{path}` could not be built: {said}"))
}

/// The number after `line ` or `on line `, and what follows.
fn numbered(text: &str) -> Option<(usize, &str)> {
    let text = text.strip_prefix("on ").unwrap_or(text).strip_prefix("line ")?;
    let (number, what) = text.split_once(": ")?;
    Some((number.parse().ok()?, what))
}

fn at_line(operation: &'static str, (path, file): (&str, &str), line: usize, what: &str) -> Error {
    let text = file.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
    Error::invalid(operation, format!("`{path}`, line {line}: {what}"))
        .with("the line", text)
        .advice("mend the build file; nothing was built")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: (&str, &str) = ("Dockerfile", "FROM scratch\nCOPY a /a\nRUNN x\n");

    #[test]
    fn a_line_that_is_no_instruction_is_named_in_the_words_of_every_engine() {
        for said in [
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 3: unknown instruction: RUNN",
            "dockerfile parse error on line 3: unknown instruction: RUNN",
            "failed to solve: dockerfile parse error on line 3: unknown instruction: RUNN",
        ] {
            let error = explain("test", FILE, said, None);
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.message(), "`Dockerfile`, line 3: unknown instruction: RUNN");
            assert!(error.report().contains("RUNN x"), "{}", error.report());
        }
    }

    #[test]
    fn a_step_is_named_with_its_line_and_its_last_words() {
        let broken = |name: &str| Some(Broken { name: name.to_owned(), last_words: vec!["a".into(), "b".into()] });
        let error =
            explain("test", FILE, "executor failed running [/bin/sh -c x]: exit code: 7", broken("[1/1] COPY a /a"));
        assert_eq!(error.kind(), ErrorKind::CommandFailed);
        assert!(error.message().starts_with("`Dockerfile`, line 2: "), "{error}");
        assert!(error.report().contains("exit code: 7") && error.report().contains("a | b"), "{}", error.report());
        let error = explain("test", FILE, "failed to compute cache key: \"/a\" not found: not found", broken("[x] y"));
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().starts_with("`Dockerfile`: "), "{error}");
    }

    #[test]
    fn a_stage_that_is_not_there_is_named() {
        let error = explain("test", FILE, "failed to solve: target stage \"x\" could not be found", None);
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidInput, "`Dockerfile` has no stage \"x\""));
    }
}
