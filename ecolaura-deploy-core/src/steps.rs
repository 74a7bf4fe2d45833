//! The built-in steps: one for every action of a release.

mod call;

pub use self::call::{Call, call};
