//! All that is wrong with a specification, told at once.

use crate::{Error, ErrorKind, Result};

#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<(ErrorKind, String)>);

impl Problems {
    pub(crate) fn add(&mut self, kind: ErrorKind, text: impl Into<String>) {
        self.0.push((kind, text.into()));
    }

    pub(crate) fn invalid(&mut self, text: impl Into<String>) {
        self.add(ErrorKind::InvalidInput, text);
    }

    /// What `result` holds, or the problem that it is; an end of the work is handed on.
    pub(crate) fn note<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => Err(error),
            Err(error) => {
                self.add(error.kind(), error.message());
                Ok(None)
            }
        }
    }

    /// Fails if there is any problem; of several kinds, with the caller's own faults first.
    pub(crate) fn refuse(mut self, operation: &'static str) -> Result<()> {
        self.0.dedup();
        let first = self.0.iter().find(|(kind, _)| *kind == ErrorKind::InvalidInput).or(self.0.first());
        let Some(kind) = first.map(|(kind, _)| *kind) else { return Ok(()) };
        let texts: Vec<_> = self.0.into_iter().map(|(_, text)| text).collect();
        let message = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("{} problems in the image's specification: {}", many.len(), many.join("; ")),
        };
        Err(Error::new(kind, operation, message).advice("mend what is named and run again; nothing was built"))
    }
}
