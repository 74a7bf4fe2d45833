//! Backends whose calls go through an [`Injector`].

use std::sync::Arc;

use super::Injector;
use crate::{Context, Result};

mod images;
mod serving;
mod small;
mod store;

/// `T` with the faults, the pauses and the ledger of an [`Injector`]. It is whatever backend `T` is; what `T` answers
/// without being asked over a wire (its name, its capabilities) is handed on as it is.
#[derive(Debug)]
pub struct Injected<T: ?Sized> {
    inner: Arc<T>,
    injector: Injector,
}

impl<T: ?Sized> Clone for Injected<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), injector: self.injector.clone() }
    }
}

impl<T: ?Sized> Injected<T> {
    /// `inner` behind `injector`.
    pub fn new(inner: Arc<T>, injector: &Injector) -> Self {
        Self { inner, injector: injector.clone() }
    }

    /// What is behind it.
    pub fn inner(&self) -> &Arc<T> {
        &self.inner
    }

    async fn call<R>(
        &self,
        name: &'static str,
        cx: &Context,
        subject: impl ToString,
        work: impl Future<Output = Result<R>>,
    ) -> Result<R> {
        self.injector.call(name, Some(cx), subject.to_string(), work).await
    }
}
