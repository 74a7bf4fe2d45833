//! Which groups fail and go back together.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use crate::{
    pipeline::{Node, release_group},
    vocabulary::Name,
};

/// The place of the group `release`.
pub(super) const RELEASE: usize = 0;

/// Why a group does not go on.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    /// The step that failed, or what asked for the end.
    pub(super) failed: String,
    pub(super) cause: String,
    /// What skipped steps say.
    pub(super) because: String,
}

impl Stop {
    pub(super) fn of_step(name: &str, cause: String) -> Self {
        Self { failed: name.to_owned(), cause, because: format!("`{name}` failed") }
    }

    /// `what` asked for the end: `a cancel`.
    pub(super) fn of_run(what: &str, cause: &str) -> Self {
        Self { failed: what.to_owned(), cause: cause.to_owned(), because: cause.to_owned() }
    }

    /// For the record of what is undone.
    pub(super) fn reason(&self) -> String {
        if self.cause == self.because { self.cause.clone() } else { format!("{}: {}", self.because, self.cause) }
    }
}

#[derive(Debug)]
struct Group {
    name: Name,
    steps: usize,
    running: usize,
    cancel: CancellationToken,
    stop: Option<Stop>,
    /// Whether its effects were handed over to be undone.
    undone: bool,
    /// Groups with steps that need one of its steps: they rest on it and cannot stay when it goes.
    above: BTreeSet<usize>,
}

/// All groups of a pipeline.
#[derive(Debug)]
pub(super) struct Groups {
    list: Vec<Group>,
    of: Vec<usize>,
}

impl Groups {
    /// Those of `nodes`; cancelling `all` cancels each.
    pub(super) fn new(nodes: &[Node], all: &CancellationToken) -> Self {
        let mut groups = Self { list: Vec::new(), of: Vec::with_capacity(nodes.len()) };
        let mut places = BTreeMap::new();
        groups.place(&mut places, &release_group(), all);
        for node in nodes {
            let place = groups.place(&mut places, &node.group, all);
            groups.list[place].steps += 1;
            groups.of.push(place);
            for need in &node.needs {
                let below = groups.of[*need];
                if below != place {
                    groups.list[below].above.insert(place);
                }
            }
        }
        groups
    }

    fn place(&mut self, places: &mut BTreeMap<Name, usize>, name: &Name, all: &CancellationToken) -> usize {
        if let Some(place) = places.get(name) {
            return *place;
        }
        self.list.push(Group {
            name: name.clone(),
            steps: 0,
            running: 0,
            cancel: all.child_token(),
            stop: None,
            undone: false,
            above: BTreeSet::new(),
        });
        places.insert(name.clone(), self.list.len() - 1);
        self.list.len() - 1
    }

    pub(super) fn of(&self, step: usize) -> usize {
        self.of[step]
    }

    /// A step of `group` starts; what ends it.
    pub(super) fn enter(&mut self, group: usize) -> CancellationToken {
        self.list[group].running += 1;
        self.list[group].cancel.clone()
    }

    pub(super) fn leave(&mut self, group: usize) {
        self.list[group].running -= 1;
    }

    /// Why no step of `group` starts any more.
    pub(super) fn stop_of(&self, group: usize) -> Option<&Stop> {
        self.list[group].stop.as_ref()
    }

    /// Stops `group` and what rests on it, everything if it is the release. Answers whether any was not stopped yet.
    pub(super) fn stop(&mut self, group: usize, stop: &Stop) -> bool {
        let mut any = false;
        for place in self.with_above(group) {
            let group = &mut self.list[place];
            if group.stop.is_none() {
                group.stop = Some(stop.clone());
                group.cancel.cancel();
                any = true;
            }
        }
        any
    }

    fn with_above(&self, group: usize) -> BTreeSet<usize> {
        if group == RELEASE {
            return (0..self.list.len()).collect();
        }
        let (mut found, mut open) = (BTreeSet::from([group]), vec![group]);
        while let Some(place) = open.pop() {
            if place == RELEASE {
                return (0..self.list.len()).collect();
            }
            open.extend(self.list[place].above.iter().filter(|above| found.insert(**above)));
        }
        found
    }

    /// Stopped groups that rest on each other, of which nothing runs and nothing was undone yet. They are undone
    /// together, and marked so here.
    pub(super) fn take_quiet(&mut self) -> Option<(BTreeSet<usize>, Stop)> {
        let open: BTreeSet<usize> = (0..self.list.len())
            .filter(|place| self.list[*place].stop.is_some() && !self.list[*place].undone)
            .collect();
        let mut seen = BTreeSet::new();
        for start in &open {
            if seen.contains(start) {
                continue;
            }
            let part = self.connected(*start, &open);
            if part.iter().all(|place| self.list[*place].running == 0) {
                part.iter().for_each(|place| self.list[*place].undone = true);
                let stop = self.list[*start].stop.clone();
                return stop.map(|stop| (part, stop));
            }
            seen.extend(part);
        }
        None
    }

    fn connected(&self, start: usize, among: &BTreeSet<usize>) -> BTreeSet<usize> {
        let (mut found, mut open) = (BTreeSet::from([start]), vec![start]);
        while let Some(place) = open.pop() {
            let touches =
                |other: &usize| self.list[place].above.contains(other) || self.list[*other].above.contains(&place);
            open.extend(among.iter().filter(|other| touches(other)).filter(|other| found.insert(**other)));
        }
        found
    }

    /// The names of the stopped groups that have steps, sorted.
    pub(super) fn stopped(&self) -> Vec<Name> {
        let stopped = self.list.iter().filter(|group| group.stop.is_some() && group.steps > 0);
        let mut names: Vec<Name> = stopped.map(|group| group.name.clone()).collect();
        names.sort();
        names
    }

    /// Whether no group with steps goes on.
    pub(super) fn all_stopped(&self) -> bool {
        self.list.iter().all(|group| group.stop.is_some() || group.steps == 0)
    }
}
