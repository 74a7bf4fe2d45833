//! What must hold after every run, whatever went wrong: I1 to I11.
//!
//! Each check takes what can be observed and answers with the broken promises, one line each; none is good. A
//! [`simulation`](super::simulation) makes all of them; a test of its own makes those that it has the material for.

mod records;
mod worlds;
pub(crate) use self::worlds::event_text;

pub use self::{
    records::{acknowledged, damage_kept, intents_first, nothing_open, one_ending, released},
    worlds::{Ready, applied_once, available, fenced, no_candidates, no_secrets, state},
};

/// I11: two runs with one seed wrote the same, object by object.
pub fn same_journal(one: &str, other: &str) -> Vec<String> {
    let mut lines = one.lines().zip(other.lines()).enumerate();
    let differs = lines.find(|(_, (one, other))| one != other);
    match differs {
        Some((line, (one, other))) => vec![format!("I11: line {line} is `{one}`, and the second time `{other}`")],
        None if one.len() != other.len() => vec!["I11: one journal is longer than the other".to_owned()],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
