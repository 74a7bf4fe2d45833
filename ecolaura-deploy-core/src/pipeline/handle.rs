//! Where a step's inputs come from.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

use crate::step::{Inputs, Leaf, Planned};

/// A value of some step, erased.
pub(crate) type AnyValue = Arc<dyn Any + Send + Sync>;

/// What the steps gave, or are known to give, by index.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Outputs(Vec<OnceLock<AnyValue>>);

impl Outputs {
    /// Room for `steps` outputs, none of them there.
    pub(crate) fn new(steps: usize) -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(steps).collect())
    }

    /// Sets the output of `step`; the first one stays.
    pub(crate) fn set(&self, step: usize, value: AnyValue) {
        if let Some(slot) = self.0.get(step) {
            let _ = slot.set(value);
        }
    }

    pub(crate) fn get(&self, step: usize) -> Option<&AnyValue> {
        self.0.get(step)?.get()
    }
}

/// What is known, and the names of the steps for what is not.
#[doc(hidden)]
pub struct Known<'a> {
    pub(crate) outputs: &'a Outputs,
    pub(crate) names: &'a (dyn Fn(usize) -> String + Sync),
}

impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("outputs", self.outputs).finish_non_exhaustive()
    }
}

type Project<T> = Arc<dyn Fn(&AnyValue) -> Option<T> + Send + Sync>;

/// The output of a step, before it ran. Reading it is the dependency.
pub struct Handle<T> {
    pipeline: u64,
    step: usize,
    project: Project<T>,
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { pipeline: self.pipeline, step: self.step, project: Arc::clone(&self.project) }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("step", &self.step).finish_non_exhaustive()
    }
}

impl<T: Leaf> Handle<T> {
    pub(crate) fn new(pipeline: u64, step: usize) -> Self {
        Self { pipeline, step, project: Arc::new(|value| value.downcast_ref::<T>().cloned()) }
    }

    /// A handle of what `f` makes of the output. `f` must be pure: it runs when planning too.
    pub fn map<U: Leaf>(&self, f: impl Fn(T) -> U + Send + Sync + 'static) -> Handle<U> {
        let project = Arc::clone(&self.project);
        Handle { pipeline: self.pipeline, step: self.step, project: Arc::new(move |value| project(value).map(&f)) }
    }
}

impl<T> Handle<T> {
    pub(crate) fn position(&self) -> (u64, usize) {
        (self.pipeline, self.step)
    }

    pub(crate) fn read(&self, outputs: &Outputs) -> Option<T> {
        (self.project)(outputs.get(self.step)?)
    }
}

/// Where a step's input comes from: a [`Handle`], a [`constant`], or tuples, `Vec`s and `Option`s of those.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// What the step reads.
    type Value: Inputs;

    /// The steps it comes from, as pipeline and index.
    #[doc(hidden)]
    fn steps(&self, into: &mut Vec<(u64, usize)>);

    /// What is known of it.
    #[doc(hidden)]
    fn planned(&self, known: &Known<'_>) -> <Self::Value as Inputs>::Planned;

    /// The value, when all of its steps are done.
    #[doc(hidden)]
    fn resolve(&self, outputs: &Outputs) -> Option<Self::Value>;
}

impl<T: Leaf> Source for Handle<T> {
    type Value = T;

    fn steps(&self, into: &mut Vec<(u64, usize)>) {
        into.push(self.position());
    }

    fn planned(&self, known: &Known<'_>) -> Planned<T> {
        match self.read(known.outputs) {
            Some(value) => Planned::Known(value),
            None => Planned::After((known.names)(self.step)),
        }
    }

    fn resolve(&self, outputs: &Outputs) -> Option<T> {
        self.read(outputs)
    }
}

/// A value that is known from the start.
#[derive(Debug, Clone)]
pub struct Constant<T>(T);

/// `value` as an input.
pub fn constant<T: Leaf>(value: T) -> Constant<T> {
    Constant(value)
}

impl<T: Leaf> Source for Constant<T> {
    type Value = T;
    fn steps(&self, _into: &mut Vec<(u64, usize)>) {}
    fn planned(&self, _known: &Known<'_>) -> Planned<T> {
        Planned::Known(self.0.clone())
    }
    fn resolve(&self, _outputs: &Outputs) -> Option<T> {
        Some(self.0.clone())
    }
}

impl<S: Source> Source for Vec<S> {
    type Value = Vec<S::Value>;
    fn steps(&self, into: &mut Vec<(u64, usize)>) {
        self.iter().for_each(|source| source.steps(into));
    }
    fn planned(&self, known: &Known<'_>) -> <Self::Value as Inputs>::Planned {
        self.iter().map(|source| source.planned(known)).collect()
    }
    fn resolve(&self, outputs: &Outputs) -> Option<Self::Value> {
        self.iter().map(|source| source.resolve(outputs)).collect()
    }
}

impl<S: Source> Source for Option<S> {
    type Value = Option<S::Value>;
    fn steps(&self, into: &mut Vec<(u64, usize)>) {
        self.iter().for_each(|source| source.steps(into));
    }
    fn planned(&self, known: &Known<'_>) -> <Self::Value as Inputs>::Planned {
        self.as_ref().map(|source| source.planned(known))
    }
    fn resolve(&self, outputs: &Outputs) -> Option<Self::Value> {
        match self {
            Some(source) => source.resolve(outputs).map(Some),
            None => Some(None),
        }
    }
}

macro_rules! tuples {
    ($($name:ident),+) => {
        #[expect(non_snake_case, reason = "one name for a type and its value")]
        impl<$($name: Source),+> Source for ($($name,)+) {
            type Value = ($($name::Value,)+);
            fn steps(&self, into: &mut Vec<(u64, usize)>) {
                let ($($name,)+) = self;
                $($name.steps(into);)+
            }
            fn planned(&self, known: &Known<'_>) -> <Self::Value as Inputs>::Planned {
                let ($($name,)+) = self;
                ($($name.planned(known),)+)
            }
            fn resolve(&self, outputs: &Outputs) -> Option<Self::Value> {
                let ($($name,)+) = self;
                Some(($($name.resolve(outputs)?,)+))
            }
        }
    };
}

tuples!(A, B);
tuples!(A, B, C);
tuples!(A, B, C, D);
tuples!(A, B, C, D, E);

/// One leaf made of several values. Made by [`derive()`].
pub struct Derived<S: Source, T> {
    source: S,
    make: Arc<dyn Fn(S::Value) -> T + Send + Sync>,
}

/// What `make` makes of `source` once all of it is known. `make` must be pure: it runs when planning too.
///
/// ```
/// use ecolaura_deploy_core::pipeline::{constant, derive};
/// let sum = derive((constant(1_u64), constant(2_u64)), |(a, b)| a + b);
/// ```
pub fn derive<S: Source, T: Leaf>(source: S, make: impl Fn(S::Value) -> T + Send + Sync + 'static) -> Derived<S, T> {
    Derived { source, make: Arc::new(make) }
}

impl<S: Source, T> fmt::Debug for Derived<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<S: Source, T: Leaf> Source for Derived<S, T> {
    type Value = T;

    fn steps(&self, into: &mut Vec<(u64, usize)>) {
        self.source.steps(into);
    }

    fn planned(&self, known: &Known<'_>) -> Planned<T> {
        if let Some(value) = self.source.resolve(known.outputs) {
            return Planned::Known((self.make)(value));
        }
        let mut steps = Vec::new();
        self.source.steps(&mut steps);
        let missing = steps.into_iter().map(|(_, step)| step).find(|step| known.outputs.get(*step).is_none());
        Planned::After(missing.map(known.names).unwrap_or_default())
    }

    fn resolve(&self, outputs: &Outputs) -> Option<T> {
        self.source.resolve(outputs).map(|value| (self.make)(value))
    }
}
