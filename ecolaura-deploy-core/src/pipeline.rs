//! The typed graph: a step's output handle is the dependency, so a cycle cannot be written and a step cannot read what
//! was not produced.

mod erased;
mod handle;
mod landing;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

pub(crate) use self::erased::{ErasedPlan, ErasedStep, Output};
#[cfg(feature = "test-util")]
pub(crate) use self::erased::{Refined, Success};
pub(crate) use self::handle::Outputs;
pub use self::{
    handle::{Constant, Derived, Handle, Source, constant, derive},
    landing::Landing,
};
use crate::{
    Error,
    run::RetryPolicy,
    step::{ErasedUndoer, Step, UndoData, UndoKey, Undoer, erase_undoer},
    vocabulary::{EnvironmentName, Name, ReleaseSequence},
};

/// The group that a step belongs to unless it says otherwise. When it fails, everything done in the run is undone.
pub const RELEASE: &str = "release";

/// How one step is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepPolicy {
    pub(crate) deadline: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) retry: RetryPolicy,
}

impl Default for StepPolicy {
    fn default() -> Self {
        let half_hour = Duration::from_mins(30);
        Self { deadline: half_hour, attempt_timeout: half_hour, retry: RetryPolicy::default() }
    }
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) group: Name,
    pub(crate) policy: StepPolicy,
    /// Indices of the steps it waits for, sorted, each once.
    pub(crate) needs: Vec<usize>,
    pub(crate) step: Box<dyn ErasedStep>,
}

/// A release as a graph of steps for one environment.
///
/// ```
/// use ecolaura_deploy_core::{pipeline::{Pipeline, constant}, steps};
/// let mut pipeline = Pipeline::new("ecolaura".parse()?, "dev".parse()?);
/// let name = pipeline.add("name", steps::call("name", |_cx, ()| async { Ok("world".to_owned()) }), constant(()));
/// let _greeting =
///     pipeline.add("greet", steps::call("greet", |_cx, name| async move { Ok(format!("hello {name}")) }), name);
/// # Ok::<_, ecolaura_deploy_core::Error>(())
/// ```
pub struct Pipeline {
    pub(crate) id: u64,
    pub(crate) name: Name,
    pub(crate) environment: EnvironmentName,
    pub(crate) nodes: Vec<Node>,
    pub(crate) undoers: BTreeMap<UndoKey, Arc<dyn ErasedUndoer>>,
    pub(crate) problems: Vec<Error>,
    pub(crate) landing: Landing,
    names: HashSet<String>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        f.debug_struct("Pipeline")
            .field("name", &self.name)
            .field("environment", &self.environment)
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// An empty one.
    pub fn new(name: Name, environment: EnvironmentName) -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            name,
            environment,
            nodes: Vec::new(),
            undoers: BTreeMap::new(),
            problems: Vec::new(),
            landing: Landing::Unnumbered,
            names: HashSet::new(),
        }
    }

    /// Says that this brings release `sequence`: the run is refused if a newer one is live by then.
    pub fn brings(&mut self, sequence: ReleaseSequence) {
        self.landing = Landing::Forward(sequence);
    }

    /// Says that this goes back to release `sequence`, over newer ones.
    pub fn back_to(&mut self, sequence: ReleaseSequence) {
        self.landing = Landing::Back(sequence);
    }

    /// Adds `step`, reading `input`. A duplicate name and a handle of another pipeline are problems of the plan.
    pub fn add<S: Step, I: Source<Value = S::Input>>(
        &mut self,
        name: impl Into<String>,
        step: S,
        input: I,
    ) -> Handle<S::Output> {
        self.step(name, step, input).add()
    }

    /// Adds `step` with more to say about it.
    pub fn step<S: Step, I: Source<Value = S::Input>>(
        &mut self,
        name: impl Into<String>,
        step: S,
        input: I,
    ) -> StepBuilder<'_, S, I> {
        StepBuilder {
            pipeline: self,
            name: name.into(),
            step,
            input,
            after: Vec::new(),
            group: None,
            policy: StepPolicy::default(),
        }
    }

    /// Lets `undoer` execute the records of earlier runs whose steps this pipeline no longer has.
    pub fn undoer<U: UndoData>(&mut self, undoer: Arc<dyn Undoer<U>>) {
        let undoer = erase_undoer(undoer);
        self.undoers.insert(undoer.key(), undoer);
    }

    /// The names of the steps, in the order in which they were added.
    pub fn step_names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.name.as_str())
    }

    fn push(&mut self, node: Node) {
        if !self.names.insert(node.name.clone()) {
            self.problems.push(
                Error::invalid("pipeline.add", format!("two steps are named `{}`", node.name))
                    .advice("give each step a name of its own"),
            );
        }
        if let Some(undoer) = node.step.undoer() {
            self.undoers.insert(undoer.key(), undoer);
        }
        self.nodes.push(node);
    }
}

/// A step on its way into a pipeline.
#[derive(Debug)]
#[must_use = "a step is added by `add`"]
pub struct StepBuilder<'p, S, I> {
    pipeline: &'p mut Pipeline,
    name: String,
    step: S,
    input: I,
    after: Vec<(u64, usize)>,
    group: Option<Name>,
    policy: StepPolicy,
}

impl<S: Step, I: Source<Value = S::Input>> StepBuilder<'_, S, I> {
    /// Only after the step of `handle`, without reading its output.
    pub fn after<T>(mut self, handle: &Handle<T>) -> Self {
        self.after.push(handle.position());
        self
    }

    /// In the atomic group `group`, which goes forward and back together. Its failure undoes this group only.
    pub fn group(mut self, group: Name) -> Self {
        self.group = Some(group);
        self
    }

    /// With at most this much time for all attempts together (default 30 minutes).
    pub fn deadline(mut self, time: Duration) -> Self {
        self.policy.deadline = time;
        self
    }

    /// With at most this much time for one attempt (default 30 minutes).
    pub fn attempt_timeout(mut self, time: Duration) -> Self {
        self.policy.attempt_timeout = time;
        self
    }

    /// With another retry policy.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.policy.retry = retry;
        self
    }

    /// Adds it.
    pub fn add(self) -> Handle<S::Output> {
        let Self { pipeline, name, step, input, mut after, group, policy } = self;
        input.steps(&mut after);
        let mut needs = Vec::with_capacity(after.len());
        for (owner, index) in after {
            if owner == pipeline.id {
                needs.push(index);
            } else {
                let message = format!("step `{name}` reads a handle of another pipeline");
                let advice = "hand a `Release` or a constant from one pipeline to the next";
                pipeline.problems.push(Error::invalid("pipeline.add", message).advice(advice));
            }
        }
        needs.sort_unstable();
        needs.dedup();
        let index = pipeline.nodes.len();
        let group = group.unwrap_or_else(release_group);
        pipeline.push(Node { name, group, policy, needs, step: erased::erase(step, input) });
        Handle::new(pipeline.id, index)
    }
}

#[expect(clippy::expect_used, reason = "a constant that a test checks")]
pub(crate) fn release_group() -> Name {
    Name::new(RELEASE).expect("a valid name")
}
