//! Approvers: a fixed answer, a prompt, a callback, a dropped file.

mod callback;
mod file;
mod fixed;
mod prompt;

pub use self::{callback::CallbackApprover, file::FileApprover, fixed::FixedApprover, prompt::PromptApprover};

use crate::{Context, Error, ErrorKind, Result, backend::ApprovalRequest};

/// Fails with `Timeout` if the question has expired, and as [`Context::check`] does.
fn check_open(cx: &Context, request: &ApprovalRequest) -> Result<()> {
    cx.check("approval.request")?;
    if cx.clock().now() < request.expires { Ok(()) } else { Err(expired(request)) }
}

/// Waits for `answer` until the question expires or the context ends.
async fn until_expiry<T>(
    cx: &Context,
    request: &ApprovalRequest,
    answer: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    check_open(cx, request)?;
    let left = std::time::Duration::try_from(request.expires.duration_since(cx.clock().now())).unwrap_or_default();
    match cx.bounded("approval.request", tokio::time::timeout(left, answer)).await? {
        Ok(answer) => answer,
        Err(_) => Err(expired(request)),
    }
}

fn expired(request: &ApprovalRequest) -> Error {
    let message = format!("the question `{}` expired at {}", request.subject, request.expires);
    Error::new(ErrorKind::Timeout, "approval.request", message).advice("run again to ask anew")
}

#[cfg(test)]
mod tests;
