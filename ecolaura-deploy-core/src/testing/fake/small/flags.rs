//! A fake [`FeatureFlags`].

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::fake_name;
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{FeatureFlags, FlagChange, FlagState},
    fence::Epochs,
    vocabulary::Name,
};

/// Flags in memory. They refuse older epochs.
#[derive(Debug)]
pub struct FakeFlags {
    name: Name,
    state: Mutex<State>,
}

type Flags = BTreeMap<String, (Vec<String>, FlagState)>;

#[derive(Debug, Default)]
struct State {
    flags: Flags,
    epochs: Epochs,
}

impl FakeFlags {
    /// No flags.
    pub fn new() -> Self {
        Self { name: fake_name(), state: Mutex::default() }
    }

    /// The same with `flag`, which has `variants` and is in `state`.
    pub fn with(self, flag: impl Into<String>, variants: &[&str], state: FlagState) -> Self {
        let variants = variants.iter().map(|variant| (*variant).to_owned()).collect();
        self.state().flags.insert(flag.into(), (variants, state));
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FakeFlags {
    fn default() -> Self {
        Self::new()
    }
}

fn missing(operation: &'static str, flag: &str, known: &Flags) -> Error {
    let known: Vec<_> = known.keys().map(String::as_str).collect();
    Error::new(ErrorKind::NotFound, operation, format!("no flag `{flag}`; there are: {}", known.join(", ")))
}

#[async_trait]
impl FeatureFlags for FakeFlags {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fences(&self) -> bool {
        true
    }

    async fn get(&self, cx: &Context, flag: &str) -> Result<FlagState> {
        cx.check("flags.get")?;
        let flags = &self.state().flags;
        flags.get(flag).map(|(_, state)| state.clone()).ok_or_else(|| missing("flags.get", flag, flags))
    }

    async fn set(&self, cx: &Context, change: &FlagChange) -> Result<()> {
        cx.check("flags.set")?;
        let State { flags, epochs } = &mut *self.state();
        epochs.admit("flags.set", cx)?;
        let Some((variants, state)) = flags.get_mut(&change.flag) else {
            return Err(missing("flags.set", &change.flag, flags));
        };
        if *state == change.to {
            return Ok(());
        }
        if !variants.contains(&change.to.variant) {
            let message = format!("the flag `{}` has no variant `{}`", change.flag, change.to.variant);
            return Err(Error::invalid("flags.set", message));
        }
        if *state != change.from {
            let message = format!("the flag `{}` is {state}, expected {}", change.flag, change.from);
            return Err(Error::new(ErrorKind::Conflict, "flags.set", message));
        }
        *state = change.to.clone();
        Ok(())
    }
}
