//! What is wrong with migrations, all of it at once.

use std::path::Path;

use crate::{Error, ErrorKind};

/// One thing that is wrong: what was found where, what was expected, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: ErrorKind,
    text: String,
}

impl Problem {
    /// Something about `subject`, a file's name or a version.
    pub(super) fn new(kind: ErrorKind, subject: &str, text: &str) -> Self {
        Self { kind, text: format!("{subject}: {text}") }
    }

    /// Something about a file.
    pub(super) fn file(kind: ErrorKind, file: &str, text: &str) -> Self {
        Self::new(kind, &format!("`{file}`"), text)
    }

    /// What decides about the kind of the whole.
    fn weight(&self) -> u8 {
        match self.kind {
            ErrorKind::MigrationDirty => 3,
            ErrorKind::InvalidInput => 2,
            _ => 1,
        }
    }
}

/// One error for all `problems`; none if there are none. A dirty database outweighs a bad file, and that an edited one.
pub(crate) fn refuse(operation: &'static str, folder: &Path, problems: &[Problem]) -> Option<Error> {
    let worst = problems.iter().max_by_key(|problem| problem.weight())?;
    let texts: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
    let message = match texts.as_slice() {
        [one] => (*one).to_owned(),
        all => format!("{} problems: {}", all.len(), all.join(" | ")),
    };
    Some(Error::new(worst.kind, operation, message).with("migrations", folder.display()))
}
