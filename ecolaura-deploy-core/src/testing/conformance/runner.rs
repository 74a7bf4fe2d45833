//! Runs the cases of a suite, each on a bench of its own, and reports all failures together.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, pin::Pin};

use futures_util::FutureExt;

use crate::Result;

/// A case: fails by an error or by a panic.
pub(super) type Case<B> = for<'a> fn(&'a B) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A table of cases, each under its function's name.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), (|bench| Box::pin($name(bench))) as $crate::testing::conformance::runner::Case<_>)),*]
    };
}
pub(super) use cases;

/// Runs every case on a fresh bench and panics with the names of those that failed, and why.
#[expect(clippy::panic, reason = "a suite fails by panicking, as tests do")]
pub(super) async fn run<B>(suite: &str, cases: &[(&'static str, Case<B>)], make: impl AsyncFn() -> Result<B>) {
    let mut failures = Vec::new();
    for (name, case) in cases {
        let bench = match make().await {
            Ok(bench) => bench,
            Err(error) => panic!("{suite}: no bench for `{name}`: {}", error.report()),
        };
        match AssertUnwindSafe(case(&bench)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failures.push(format!("{name}: {}", error.report())),
            Err(panic) => failures.push(format!("{name}: {}", text(panic.as_ref()))),
        }
    }
    assert!(
        failures.is_empty(),
        "{suite}: {} of {} cases failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}
