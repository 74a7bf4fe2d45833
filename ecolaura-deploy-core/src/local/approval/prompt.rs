//! A person at the terminal answers.

use std::{
    fmt,
    io::{self, BufRead, IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::until_expiry;
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{Approval, ApprovalRequest, Approver},
    vocabulary::Name,
};

/// How often an answer that is neither yes nor no is asked again.
const TRIES: usize = 3;

pub(super) type Terminal = (Box<dyn BufRead + Send>, Box<dyn Write + Send>);

/// Shows the question on standard error and reads a line from standard input: `yes`, or `no` and perhaps a reason.
/// Where these are not a terminal, or the input ends, the answer is [`Approval::Waiting`].
///
/// A cancel gives the question up, but a terminal cannot be told to stop reading: the next line typed belongs to the
/// question that was given up, and counts for nothing. The reader is a thread that does not keep the program alive.
#[derive(Clone)]
pub struct PromptApprover {
    pub(super) name: Name,
    pub(super) by: String,
    pub(super) terminal: Option<Arc<Mutex<Terminal>>>,
}

impl PromptApprover {
    /// Asks at the program's own terminal, in the name of `by`.
    pub fn new(name: Name, by: impl Into<String>) -> Self {
        if io::stdin().is_terminal() && io::stderr().is_terminal() {
            return Self::on(name, by, io::BufReader::new(io::stdin()), io::stderr());
        }
        Self { name, by: by.into(), terminal: None }
    }

    /// Asks on `output` and reads from `input`.
    pub fn on(
        name: Name,
        by: impl Into<String>,
        input: impl BufRead + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> Self {
        let terminal: Terminal = (Box::new(input), Box::new(output));
        Self { name, by: by.into(), terminal: Some(Arc::new(Mutex::new(terminal))) }
    }

    fn answer(&self, line: &str, request: &ApprovalRequest) -> Option<Approval> {
        let by = self.by.clone();
        let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        match word {
            "yes" if rest.is_empty() => Some(Approval::Approved { by, digest: request.digest }),
            "no" => {
                let reason = if rest.is_empty() { "no reason given" } else { rest.trim() };
                Some(Approval::Rejected { by, reason: reason.to_owned() })
            }
            _ => None,
        }
    }

    fn ask(&self, terminal: &Mutex<Terminal>, request: &ApprovalRequest) -> io::Result<Approval> {
        let mut terminal = terminal.lock().unwrap_or_else(PoisonError::into_inner);
        let (input, output) = &mut *terminal;
        writeln!(output, "\n{} ({}, {})", request.subject, request.environment, request.digest.short())?;
        for line in &request.summary {
            writeln!(output, "  {line}")?;
        }
        for _ in 0..TRIES {
            write!(output, "Type `yes`, or `no` and a reason: ")?;
            output.flush()?;
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                break;
            }
            if let Some(answer) = self.answer(&line, request) {
                return Ok(answer);
            }
        }
        Ok(waiting(request))
    }
}

fn waiting(request: &ApprovalRequest) -> Approval {
    let how = format!("continue the run for {} at a terminal and type `yes` or `no`", request.environment);
    Approval::Waiting { how }
}

impl fmt::Debug for PromptApprover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptApprover").field("name", &self.name).field("by", &self.by).finish_non_exhaustive()
    }
}

#[async_trait]
impl Approver for PromptApprover {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn request(&self, cx: &Context, request: &ApprovalRequest) -> Result<Approval> {
        let answer = async {
            let Some(terminal) = self.terminal.clone() else { return Ok(waiting(request)) };
            let (send, receive) = oneshot::channel();
            let (approver, request) = (self.clone(), request.clone());
            // Not `spawn_blocking`: the runtime would wait for the thread when it ends, thus for a line.
            std::thread::Builder::new()
                .name("approval-prompt".to_owned())
                .spawn(move || send.send(approver.ask(&terminal, &request)))
                .map_err(|error| unavailable("no thread could be started").with_source(error))?;
            let answer = receive.await.map_err(|error| unavailable("the prompt ended").with_source(error))?;
            answer.map_err(|error| unavailable("the terminal failed").with_source(error))
        };
        until_expiry(cx, request, answer).await
    }
}

fn unavailable(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "approval.request", message)
}
