//! Suites of the smaller traits.

pub mod approver;
pub mod flags;
pub mod metrics;
pub mod scanner;
pub mod secrets;

use std::fmt;

use crate::{Context, Error, ErrorKind, Result, vocabulary::EnvironmentName};

#[expect(clippy::expect_used, reason = "the name is a literal that follows the grammar")]
fn test_context() -> Context {
    Context::new(EnvironmentName::new("conformance").expect("a valid name"))
}

#[expect(clippy::panic, reason = "a suite reports by panicking, like any test")]
pub(super) fn expect_ok<T>(case: &str, result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{case}: {}", error.report()))
}

#[expect(clippy::panic, reason = "a suite reports by panicking, like any test")]
pub(super) fn expect_kind<T: fmt::Debug>(case: &str, result: Result<T>, kind: ErrorKind) -> Error {
    match result {
        Err(error) if error.kind() == kind => error,
        other => panic!("{case}: expected {kind}, found {other:?}"),
    }
}

/// A context that was cancelled already.
fn cancelled() -> Context {
    let cx = test_context();
    cx.cancellation().cancel();
    cx
}
