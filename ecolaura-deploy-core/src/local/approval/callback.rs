//! The embedding program answers.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::until_expiry;
use crate::{
    Context, Result,
    backend::{Approval, ApprovalRequest, Approver},
    vocabulary::Name,
};

type Callback = Arc<dyn Fn(Context, ApprovalRequest) -> BoxFuture<'static, Result<Approval>> + Send + Sync>;

/// Asks a function of the embedding program: a chat message, a web page, a ticket. It is awaited until the question
/// expires; a cancel drops its future.
#[derive(Clone)]
pub struct CallbackApprover {
    name: Name,
    callback: Callback,
}

impl CallbackApprover {
    /// Asks `callback`.
    pub fn new<F, Fut>(name: Name, callback: F) -> Self
    where
        F: Fn(Context, ApprovalRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Approval>> + Send + 'static,
    {
        Self { name, callback: Arc::new(move |cx, request| Box::pin(callback(cx, request))) }
    }
}

impl fmt::Debug for CallbackApprover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackApprover").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Approver for CallbackApprover {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn request(&self, cx: &Context, request: &ApprovalRequest) -> Result<Approval> {
        until_expiry(cx, request, (self.callback)(cx.clone(), request.clone())).await
    }
}
