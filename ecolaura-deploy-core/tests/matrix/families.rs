//! The tables that the cases are made of.

#[cfg(feature = "oci")]
mod registry;
mod security;

use ecolaura_deploy_core::testing::{
    matrix::{Cell, Matrix, Scene},
    simulation::{Simulation, Verdict},
};

fn senseless(family: &'static str, name: impl Into<String>, why: impl Into<String>) -> Cell {
    Cell::Senseless { family, name: name.into(), why: why.into() }
}

/// Cases for a backend that this build leaves out.
#[cfg(not(all(feature = "local", feature = "sqlite", feature = "html", feature = "oci")))]
fn left_out(family: &'static str, feature: &str, names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| senseless(family, *name, format!("it needs the feature `{feature}`"))).collect()
}

#[cfg(not(feature = "oci"))]
mod registry {
    pub(super) fn all() -> Vec<super::Cell> {
        super::left_out("E", "oci", &["dies", "401", "416", "immutable-tag", "digest-mismatch"])
    }
}

pub(crate) fn all(simulation: &Simulation) -> Vec<Cell> {
    let matrix = Matrix::new(simulation);
    let most = if crate::is_long() { 64 } else { 16 };
    let cells = [
        matrix.crashes(),
        matrix.damages(),
        matrix.store_errors(),
        matrix.calls(|_| true),
        registry::all(),
        matrix.holders(most),
        matrix.switches(),
        security::all(),
    ];
    cells.into_iter().flatten().collect()
}
