//! Switching features.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Context, Result, vocabulary::Name};

/// What a flag answers by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FlagState {
    /// Whether the flag is evaluated at all.
    pub enabled: bool,
    /// The variant that is served by default.
    pub variant: String,
}

impl FlagState {
    /// A flag that serves `variant`.
    pub fn new(enabled: bool, variant: impl Into<String>) -> Self {
        Self { enabled, variant: variant.into() }
    }
}

impl fmt::Display for FlagState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.variant, if self.enabled { "enabled" } else { "disabled" })
    }
}

/// A wish to switch a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FlagChange {
    /// The flag.
    pub flag: String,
    /// What it shall be.
    pub to: FlagState,
    /// What it must be now; anything else is a conflict.
    pub from: FlagState,
}

impl FlagChange {
    /// `flag` from `from` to `to`.
    pub fn new(flag: impl Into<String>, from: FlagState, to: FlagState) -> Self {
        Self { flag: flag.into(), to, from }
    }
}

/// Holds feature flags.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait FeatureFlags: fmt::Debug + Send + Sync + 'static {
    /// The backend's name, for plans and records.
    fn name(&self) -> &Name;

    /// Whether [`FeatureFlags::set`] refuses an older epoch than one that it let in, with `Fenced` ([`crate::fence`]).
    fn fences(&self) -> bool {
        false
    }

    /// The state of `flag`. Reads only. Fails with `NotFound` listing the flags there are.
    async fn get(&self, cx: &Context, flag: &str) -> Result<FlagState>;

    /// Switches, atomically. Already there is success. Fails with `Fenced` before all else, `Conflict` if the flag is neither at `from` nor at
    /// `to`, `NotFound`, `InvalidInput` (no such variant).
    async fn set(&self, cx: &Context, change: &FlagChange) -> Result<()>;
}

const _: fn(&dyn FeatureFlags) = |_| {};
