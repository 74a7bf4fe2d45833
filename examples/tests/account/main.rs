//! The small examples in an account of AWS, which moto plays, and a real cluster that is reached as EKS is.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(unreachable_pub, reason = "in a test, `pub` says what a module offers to the others")]

mod eks;
#[path = "../places/example.rs"]
mod example;
mod small;
