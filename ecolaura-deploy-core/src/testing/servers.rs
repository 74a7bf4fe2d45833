//! The servers that tests run against, which the environment names: `ECOLAURA_TEST_REGISTRY`, say, by its address.
//!
//! A test whose server is missing is left out, which is printed. Where `ECOLAURA_TEST_STRICT` is `1` it fails instead,
//! so that no machine that promises to run everything passes by leaving out what it cannot run.
#![expect(clippy::print_stderr, reason = "what is left out is said")]

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::clock::{Clock as _, SystemClock};

/// What the environment calls `variable`; a variable that is empty is none.
///
/// For a server that tests may do without. One that they may not is [`named`].
pub fn if_named(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// What the environment calls `variable`. Without it the test has to end, having done nothing.
///
/// ```no_run
/// # use ecolaura_deploy_core::testing::servers::named;
/// fn an_image_comes_back_as_it_was_pushed() {
///     let Some(address) = named("ECOLAURA_TEST_REGISTRY") else { return };
///     // ...
/// }
/// ```
///
/// # Panics
///
/// If it is missing where nothing may be left out.
pub fn named(variable: &str) -> Option<String> {
    let found = if_named(variable);
    if found.is_none() {
        leave_out(&format!("`{variable}` names no server; .ci/with-servers starts what the tests need"));
    }
    found
}

/// What the environment calls each of `variables`, if it has them all. See [`named`].
///
/// # Panics
///
/// If one is missing where nothing may be left out.
pub fn all_named<const N: usize>(variables: [&str; N]) -> Option<[String; N]> {
    let found: Vec<_> = variables.iter().map_while(|variable| named(variable)).collect();
    found.try_into().ok()
}

/// A name that begins with `what` and that nothing else has on a server that tests share, or that keeps what was made
/// yesterday.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("{what}-{process}-{}-{number}", SystemClock.now().as_nanosecond())
}

/// Whether `program` can be started here, which it is, with `--version`.
///
/// # Panics
///
/// If it cannot be where nothing may be left out.
pub fn installed(program: &str) -> bool {
    let started = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    if let Err(error) = &started {
        leave_out(&format!("`{program}` does not start: {error}"));
    }
    started.is_ok()
}

fn leave_out(why: &str) {
    assert!(if_named("ECOLAURA_TEST_STRICT").as_deref() != Some("1"), "nothing may be left out: {why}");
    eprintln!("left out: {why}");
}
