//! Fakes of the smaller traits: all state in memory, nothing on disk.

mod answers;
mod flags;
mod secrets;

pub use self::{
    answers::{FakeApprover, FakeMetrics, FakeScanner},
    flags::FakeFlags,
    secrets::FakeSecrets,
};

use crate::vocabulary::Name;

#[expect(clippy::expect_used, reason = "the name is a literal that follows the grammar")]
fn fake_name() -> Name {
    Name::new("fake").expect("a valid name")
}

#[cfg(test)]
mod tests;
