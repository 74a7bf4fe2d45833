//! Values that go from step to step, and what is known of them before anything ran.

use std::{fmt, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Admitted,
    backend::{AppliedWorkload, Backup, Measurements, MigrationReport, ScanReport},
    vocabulary::{BuiltImage, Digest, EnvironmentName, MigrationVersion, Name, PinnedImage, Release, ServiceName},
};

/// A value that is known or not known as a whole, and can be written into a record. Implement it for the outputs of
/// your own steps.
pub trait Leaf: Clone + fmt::Debug + Send + Sync + Serialize + DeserializeOwned + 'static {}

macro_rules! leaves {
    ($($type:ty),* $(,)?) => { $(impl Leaf for $type {})* };
}

leaves!(
    (),
    bool,
    u32,
    u64,
    i64,
    f64,
    String,
    PathBuf,
    Digest,
    Name,
    EnvironmentName,
    ServiceName,
    PinnedImage,
    BuiltImage,
    MigrationVersion,
    Release,
    AppliedWorkload,
    Backup,
    Measurements,
    MigrationReport,
    ScanReport,
);

impl<T: Leaf> Leaf for Admitted<T> {}

/// A value that may not be known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned<T> {
    /// It is known.
    Known(T),
    /// It is known after this step.
    After(String),
}

impl<T> Planned<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::After(_) => None,
        }
    }

    /// Why it is not known: `known after build backend`.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Known(_) => None,
            Self::After(step) => Some(format!("known after `{step}`")),
        }
    }
}

/// What a step reads: one leaf, or tuples, `Vec`s and `Option`s of such. What is known of each leaf stays visible.
pub trait Inputs: Clone + fmt::Debug + Send + Sync + 'static {
    /// The same with a [`Planned`] in place of each leaf.
    type Planned: Clone + fmt::Debug + Send + Sync + 'static;

    /// `self`, all of it known.
    fn into_planned(self) -> Self::Planned;
}

impl<T: Leaf> Inputs for T {
    type Planned = Planned<T>;
    fn into_planned(self) -> Planned<T> {
        Planned::Known(self)
    }
}

impl<T: Inputs> Inputs for Vec<T> {
    type Planned = Vec<T::Planned>;
    fn into_planned(self) -> Self::Planned {
        self.into_iter().map(T::into_planned).collect()
    }
}

impl<T: Inputs> Inputs for Option<T> {
    type Planned = Option<T::Planned>;
    fn into_planned(self) -> Self::Planned {
        self.map(T::into_planned)
    }
}

macro_rules! tuples {
    ($($name:ident),+) => {
        impl<$($name: Inputs),+> Inputs for ($($name,)+) {
            type Planned = ($($name::Planned,)+);
            #[expect(non_snake_case, reason = "one name for a type and its value")]
            fn into_planned(self) -> Self::Planned {
                let ($($name,)+) = self;
                ($($name.into_planned(),)+)
            }
        }
    };
}

tuples!(A, B);
tuples!(A, B, C);
tuples!(A, B, C, D);
tuples!(A, B, C, D, E);
