//! Who holds a lock, and whether it can be proven gone.

use serde::{Deserialize, Serialize};

/// A process that deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    /// The machine's name.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// What makes the id unique: boot id, process namespace and start time. Empty where they cannot be told.
    pub proof: String,
}
