//! The small examples in an account of AWS, which moto plays, and a real cluster that is reached as EKS is.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]
#![expect(unreachable_pub, reason = "in a test, `pub` says what a module offers to the others")]

mod eks;
#[path = "../places/example.rs"]
mod example;
mod small;

/// What the environment calls `name`; in strict runs it must.
pub(crate) fn named(name: &str) -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let found = variable(name);
    if found.is_none() {
        let strict = variable("ECOLAURA_TEST_STRICT").is_some_and(|value| value == "1");
        assert!(!strict, "no {name}: run the tests by .ci/with-servers");
        eprintln!("left out: no {name}; .ci/with-servers starts what it names");
    }
    found
}
