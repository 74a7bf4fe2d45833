//! Which renames there are, and how far each is: pure.

use serde::{Deserialize, Serialize};

use crate::rds::{
    database::Database,
    restored::{Identity, Placed, Restored},
    seen::Seen,
    wait::State,
};

/// One database that gets another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    pub(super) identity: Identity,
    pub(super) from: Database,
    pub(super) to: Database,
    /// Whether it is protected from being deleted afterwards; left as it is otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) protected: Option<bool>,
    /// Whether programs find it under the new name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) serves: bool,
}

impl Move {
    fn new(of: &Placed, to: Database) -> Self {
        Self { identity: of.identity.clone(), from: of.database.clone(), to, protected: None, serves: false }
    }

    /// The way back. What has served has served.
    pub(super) fn inverse(&self) -> Self {
        Self {
            identity: self.identity.clone(),
            from: self.to.clone(),
            to: self.from.clone(),
            protected: self.protected.map(|_| false),
            serves: false,
        }
    }
}

/// The renames that let the restored database take the old one's name, with the clusters before their members: the
/// clusters' names are what programs know.
pub(super) fn moves(restored: &Restored) -> Vec<Move> {
    let Restored { new, old, aside, members, protected, .. } = restored;
    let taking = Move { protected: protected.then_some(true), serves: true, ..Move::new(new, old.database.clone()) };
    let mut moves = vec![Move::new(old, aside.clone()), taking];
    for pair in members {
        // The same name with `old` where the new one has `new`.
        let name = pair.new.database.name();
        let (start, end) = name.rsplit_once("-new-").unwrap_or((name, "x"));
        moves.push(Move::new(&pair.old, pair.old.database.named(format!("{start}-old-{end}"))));
        moves.push(Move::new(&pair.new, pair.old.database.clone()));
    }
    moves
}

/// Where the database of a move is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// It has the new name.
    There { state: State, status: String },
    /// It has the old name.
    Away { state: State, status: String },
    /// It has the old name, and whoever has the new one is leaving it.
    Behind { status: String },
    /// Another database has the new name, and this one is not on its way from it.
    Taken { by: String },
    /// It is under neither.
    Nowhere,
}

impl Place {
    /// Whether the rename was asked for. A database can be busy with something else, such as a snapshot of somebody.
    pub(super) fn has_begun(&self) -> bool {
        match self {
            Self::There { .. } | Self::Nowhere => true,
            Self::Away { status, .. } => status == "renaming",
            Self::Behind { .. } | Self::Taken { .. } => false,
        }
    }
}

/// Where it is, by what is seen under the name that it has at the start of the move and the one that it has at its end.
pub(super) fn place(step: &Move, at_start: Option<Seen>, at_end: Option<Seen>) -> Place {
    let is_it = |seen: &Seen| seen.identity() == step.identity;
    match (at_start.filter(is_it), at_end) {
        (_, Some(seen)) if is_it(&seen) => Place::There { state: seen.state(), status: seen.status().to_owned() },
        (_, Some(other)) if other.state() != State::Passing => Place::Taken { by: other.identity().resource },
        (Some(_), Some(other)) => Place::Behind { status: other.status().to_owned() },
        (Some(seen), None) => Place::Away { state: seen.state(), status: seen.status().to_owned() },
        (None, _) => Place::Nowhere,
    }
}
