//! Runs the cases of a suite, each on a bench of its own, and reports all failures together.

use std::{
    any::Any,
    future::{self, Future},
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    pin::Pin,
};

use futures_util::{FutureExt as _, StreamExt as _, stream};

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

/// Runs every case, or those whose names contain what `ECOLAURA_CASES` says, on a fresh bench, and panics with the names of those that failed, and why.
pub(super) async fn run<B>(suite: &str, cases: &[(&'static str, Case<B>)], make: impl AsyncFn() -> Result<B>) {
    run_at_once(NonZeroUsize::MIN, suite, cases, make).await;
}

/// The same with so many at a time.
pub(super) async fn run_at_once<B>(
    at_once: NonZeroUsize,
    suite: &str,
    cases: &[(&'static str, Case<B>)],
    make: impl AsyncFn() -> Result<B>,
) {
    let only = std::env::var("ECOLAURA_CASES").unwrap_or_default();
    let chosen = cases.iter().filter(|(name, _)| name.contains(&only));
    let make = &make;
    let results = stream::iter(chosen).map(|(name, case)| one(suite, name, *case, make)).buffered(at_once.get());
    let failures: Vec<String> = results.filter_map(future::ready).collect().await;
    assert!(
        failures.is_empty(),
        "{suite}: {} of {} cases failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// Why the case failed, if it did.
#[expect(clippy::panic, reason = "a suite fails by panicking, as tests do")]
async fn one<B>(suite: &str, name: &str, case: Case<B>, make: &impl AsyncFn() -> Result<B>) -> Option<String> {
    let bench = match make().await {
        Ok(bench) => bench,
        Err(error) => panic!("{suite}: no bench for `{name}`: {}", error.report()),
    };
    match AssertUnwindSafe(case(&bench)).catch_unwind().await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{name}: {}", error.report())),
        Err(panic) => Some(format!("{name}: {}", text(panic.as_ref()))),
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}
