//! A person or another program drops a file.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;

use super::{check_open, until_expiry};
use crate::{
    Context, Error, Result,
    backend::{Approval, ApprovalRequest, Approver},
    vocabulary::{Digest, EnvironmentName, Name},
};

/// Looks for an answer in `FOLDER/ENVIRONMENT.json`:
///
/// ```json
/// { "answer": "approved", "by": "ana", "environment": "production", "digest": "sha256:…",
///   "expires": "2026-03-03T12:00:00Z" }
/// ```
///
/// or `"answer": "rejected"` with a `"reason"`. An answer for another digest or environment, or one that has expired,
/// is ignored with a warning. Without an answer it is [`Approval::Waiting`] at once, unless [`FileApprover::polling`]
/// says to wait. The folder is only read.
#[derive(Debug, Clone)]
pub struct FileApprover {
    name: Name,
    folder: PathBuf,
    poll: Option<Duration>,
}

impl FileApprover {
    /// Looks in `folder`.
    pub fn new(name: Name, folder: impl Into<PathBuf>) -> Self {
        Self { name, folder: folder.into(), poll: None }
    }

    /// The same, looking again every `interval` until the question expires or the context ends.
    pub fn polling(mut self, interval: Duration) -> Self {
        self.poll = Some(interval);
        self
    }

    async fn look(&self, cx: &Context, request: &ApprovalRequest, path: &Path) -> Result<Look> {
        let file = path.to_owned();
        let read = tokio::task::spawn_blocking(move || std::fs::read(file))
            .await
            .map_err(|error| Error::internal("approval.request", "reading ended early").with_source(error))?;
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Nothing),
            Err(error) => return Err(Error::io("approval.request", path, error)),
        };
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("`{}` is not an answer: {error}", path.display());
            Error::invalid("approval.request", message)
                .advice(format!("write it as {}", example(request)))
                .with_source(error)
        })?;
        Ok(match answer.unusable(request, cx.clock().now()) {
            Some(reason) => Look::Ignored(format!("the answer in `{}` is ignored: {reason}", path.display())),
            None => Look::Answer(answer.into_approval()),
        })
    }

    async fn wait(&self, cx: &Context, request: &ApprovalRequest) -> Result<Approval> {
        let path = self.folder.join(format!("{}.json", request.environment));
        let mut warned = None;
        loop {
            match self.look(cx, request, &path).await? {
                Look::Answer(approval) => return Ok(approval),
                Look::Ignored(warning) if warned.as_ref() != Some(&warning) => {
                    cx.warn(&warning);
                    warned = Some(warning);
                }
                _ => {}
            }
            let Some(interval) = self.poll else {
                let how = format!("write {} to `{}` and continue the run", example(request), path.display());
                return Ok(Approval::Waiting { how });
            };
            cx.sleep("approval.request", interval).await?;
            check_open(cx, request)?;
        }
    }
}

enum Look {
    Nothing,
    Ignored(String),
    Answer(Approval),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Approved,
    Rejected,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    answer: Word,
    by: String,
    #[serde(default)]
    reason: Option<String>,
    environment: EnvironmentName,
    digest: Digest,
    expires: Timestamp,
}

impl Answer {
    fn unusable(&self, request: &ApprovalRequest, now: Timestamp) -> Option<String> {
        if self.environment != request.environment {
            return Some(format!("it is for {}, not for {}", self.environment, request.environment));
        }
        if self.digest != request.digest {
            return Some(format!("it is for {}, asked is {}", self.digest.short(), request.digest.short()));
        }
        (self.expires <= now).then(|| format!("it expired at {}", self.expires))
    }

    fn into_approval(self) -> Approval {
        match self.answer {
            Word::Approved => Approval::Approved { by: self.by, digest: self.digest },
            Word::Rejected => {
                let reason = self.reason.unwrap_or_else(|| "no reason given".to_owned());
                Approval::Rejected { by: self.by, reason }
            }
        }
    }
}

/// An answer that would count, except for the name.
fn example(request: &ApprovalRequest) -> String {
    format!(
        r#"{{"answer":"approved","by":"NAME","environment":"{}","digest":"{}","expires":"{}"}}"#,
        request.environment, request.digest, request.expires
    )
}

#[async_trait]
impl Approver for FileApprover {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn request(&self, cx: &Context, request: &ApprovalRequest) -> Result<Approval> {
        until_expiry(cx, request, self.wait(cx, request)).await
    }
}
