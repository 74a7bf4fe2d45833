//! A deterministic simulation of whole deployments, for pipelines of your own.
//!
//! A simulation makes a world of in-memory fakes, installs the earlier release, and lets a first process plan and run the
//! pipeline while one to four things go wrong: calls fail, hang, or lose their answer; steps panic; the process dies at a
//! record; the disk is full; the process is paused and taken over. Further processes go on with what is left, until the
//! environment is closed. Then the [`super::invariants`] are checked, and somebody deploys once more.
//!
//! Time is tokio's paused clock, the order of calls depends on the seed alone: the same seed writes the same journal.
//!
//! ```
//! use ecolaura_deploy_core::{pipeline::{Pipeline, constant}, steps::SetFlag, testing::simulation::{Fakes, Simulation}};
//! use ecolaura_deploy_core::{backend::FlagState, testing::fake::small::FakeFlags};
//!
//! Simulation::new("a-flag", |world| {
//!     let mut pipeline = Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap());
//!     pipeline.add("open", SetFlag::new(world.flags.clone(), "beta", FlagState::new(true, "on")), constant(()));
//!     pipeline
//! })
//! .fakes(|| {
//!     let mut fakes = Fakes::new();
//!     fakes.flags = FakeFlags::new().with("beta", &["off", "on"], FlagState::new(true, "off")).into();
//!     fakes
//! })
//! .seeds(0..3)
//! .run()
//! .assert();
//! ```

mod case;
mod draw;
mod life;
mod machine;
mod mishap;
mod observe;
mod report;
mod stage;
mod steps;
mod verdict;
mod world;

use std::{
    fmt,
    ops::{Range, RangeInclusive},
    sync::{Arc, OnceLock},
};

pub use self::{
    case::Observed,
    life::Ended,
    machine::Aftermath,
    mishap::{Mishap, Profile},
    report::{Case, Report},
    verdict::Verdict,
    world::{CANARY, Fakes, State, World},
};
use tokio::task::LocalSet;

use self::{case::Smooth, draw::Dice};
use super::invariants;
use crate::{pipeline::Pipeline, store::RunStore};

type Make = dyn Fn(&World) -> Pipeline + Send + Sync;
/// Makes the run store of a process, upon that of the disk.
type Over = dyn Fn(Arc<dyn RunStore>, u32) -> Arc<dyn RunStore> + Send + Sync;
type Check = dyn Fn(&Observed) -> Vec<String> + Send + Sync;

/// Which seeds are checked for determinism by doing them twice: one of so many.
const TWICE: u64 = 10;

/// A pipeline, the release before it, and how to try it. See the [module](self).
#[derive(Clone)]
pub struct Simulation {
    name: String,
    command: String,
    make: Arc<Make>,
    before: Option<Arc<Make>>,
    fakes: Arc<dyn Fn() -> Fakes + Send + Sync>,
    over: Arc<Over>,
    checks: Vec<Arc<Check>>,
    seeds: Range<u64>,
    faults: RangeInclusive<u32>,
    smooth: Arc<OnceLock<Smooth>>,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("name", &self.name)
            .field("seeds", &self.seeds)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl Simulation {
    /// Simulates the pipeline that `make` makes of a world. Every process makes it anew, so it must be the same each
    /// time. `name` is that of the test, for the line that repeats a seed.
    pub fn new(name: impl Into<String>, make: impl Fn(&World) -> Pipeline + Send + Sync + 'static) -> Self {
        let name = name.into();
        Self {
            command: format!("cargo test {name}"),
            name,
            make: Arc::new(make),
            before: None,
            fakes: Arc::new(Fakes::new),
            over: Arc::new(|store, _| store),
            checks: Vec::new(),
            seeds: 0..100,
            faults: 1..=4,
            smooth: Arc::default(),
        }
    }

    /// With an earlier release, installed by this pipeline before anything goes wrong.
    pub fn before(mut self, make: impl Fn(&World) -> Pipeline + Send + Sync + 'static) -> Self {
        self.before = Some(Arc::new(make));
        self.smooth = Arc::default();
        self
    }

    /// With other fakes.
    pub fn fakes(mut self, fakes: impl Fn() -> Fakes + Send + Sync + 'static) -> Self {
        self.fakes = Arc::new(fakes);
        self.smooth = Arc::default();
        self
    }

    /// With another run store: what `over` makes, for the process of this number (0 installs the earlier release), of its
    /// store on the simulated disk. It must keep its records there, and wait by tokio's clock alone.
    pub fn store(mut self, over: impl Fn(Arc<dyn RunStore>, u32) -> Arc<dyn RunStore> + Send + Sync + 'static) -> Self {
        self.over = Arc::new(over);
        self.smooth = Arc::default();
        self
    }

    /// With a further check: it answers with the promises that are broken.
    pub fn check(mut self, check: impl Fn(&Observed) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.checks.push(Arc::new(check));
        self
    }

    /// With these seeds (default: the first hundred). `ECOLAURA_SEED` in the environment takes their place.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// With so many mishaps for each seed (default: one to four).
    pub fn faults(mut self, faults: RangeInclusive<u32>) -> Self {
        self.faults = faults;
        self
    }

    /// With another command that repeats a seed (default: `cargo test NAME`).
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = command.into();
        self
    }

    /// Simulates every seed.
    ///
    /// # Panics
    ///
    /// If the pipeline does not succeed when nothing goes wrong.
    pub fn run(&self) -> Report {
        let smooth = self.smooth();
        let only = std::env::var("ECOLAURA_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
        let seeds = only.map_or_else(|| self.seeds.clone(), |seed| seed..seed + 1);
        let case = |seed: u64| {
            let mishaps = smooth.profile.draw(&Dice::new(seed), &self.faults);
            let again = format!("ECOLAURA_SEED={seed} {}", self.command);
            let twice = only.is_some() || seed.is_multiple_of(TWICE);
            Case { seed, verdict: self.judged(seed, &mishaps, twice), mishaps, again }
        };
        Report { cases: seeds.map(case).collect() }
    }

    /// What the pipeline does when nothing goes wrong.
    ///
    /// # Panics
    ///
    /// If it does not succeed then.
    pub fn profile(&self) -> &Profile {
        &self.smooth().profile
    }

    /// Simulates with these mishaps and no others.
    ///
    /// # Panics
    ///
    /// If the pipeline does not succeed when nothing goes wrong.
    pub fn play(&self, seed: u64, mishaps: &[Mishap]) -> Observed {
        self.observe(seed, mishaps, self.smooth())
    }

    /// Simulates with these mishaps and no others, and judges.
    ///
    /// # Panics
    ///
    /// If the pipeline does not succeed when nothing goes wrong.
    pub fn judge(&self, seed: u64, mishaps: &[Mishap]) -> Verdict {
        self.judged(seed, mishaps, false)
    }

    /// What happens when nothing goes wrong. Everything else is measured by it, so it must go well.
    fn smooth(&self) -> &Smooth {
        self.smooth.get_or_init(|| self.go_smoothly())
    }

    fn go_smoothly(&self) -> Smooth {
        let observed = self.observe(0, &[], &Smooth::default());
        let first = observed.last().map(ToString::to_string).unwrap_or_default();
        let fine = observed.moments.is_empty() && observed.last().is_some_and(Ended::closes);
        assert!(fine, "without mishaps `{}` does not succeed: {}; {first}", self.name, observed.moments.join("; "));
        observed.smooth()
    }

    fn judged(&self, seed: u64, mishaps: &[Mishap], twice: bool) -> Verdict {
        let observed = self.play(seed, mishaps);
        let mut broken: Vec<String> = self.checks.iter().flat_map(|check| check(&observed)).collect();
        if twice {
            let again = self.play(seed, mishaps);
            broken.extend(invariants::same_journal(&observed.journal(), &again.journal()));
        }
        match observed.verdict() {
            Verdict::Failed(more) => Verdict::Failed(more.into_iter().chain(broken).collect()),
            _ if !broken.is_empty() => Verdict::Failed(broken),
            verdict => verdict,
        }
    }

    #[expect(clippy::expect_used, reason = "a machine that cannot make a runtime cannot run a test")]
    fn observe(&self, seed: u64, mishaps: &[Mishap], smooth: &Smooth) -> Observed {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime with a paused clock");
        LocalSet::new().block_on(&runtime, case::play(self, seed, mishaps.to_vec(), smooth))
    }
}

#[cfg(test)]
mod tests;
