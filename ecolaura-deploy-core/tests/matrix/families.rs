//! The tables that the cases are made of.

mod security;

use ecolaura_deploy_core::testing::{
    matrix::{Case, Cell, Matrix},
    simulation::Simulation,
};

/// A case that calls the real code with a hostile input. It answers with what is wrong.
pub(crate) struct Trap {
    pub(crate) family: &'static str,
    pub(crate) name: String,
    pub(crate) spring: Box<dyn Fn() -> Result<(), String> + Send>,
}

/// A cell of the matrix.
pub(crate) enum Plan {
    Case(Case),
    Trap(Trap),
    Senseless { family: &'static str, name: String, why: String },
}

impl From<Cell> for Plan {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Case(case) => Self::Case(case),
            Cell::Senseless { family, name, why } => Self::Senseless { family, name, why },
        }
    }
}

fn senseless(family: &'static str, name: impl Into<String>, why: impl Into<String>) -> Plan {
    Plan::Senseless { family, name: name.into(), why: why.into() }
}

pub(crate) fn all(simulation: &Simulation) -> Vec<Plan> {
    let matrix = Matrix::new(simulation);
    let most = if crate::is_long() { 64 } else { 16 };
    let cells = [
        matrix.crashes(),
        matrix.damages(),
        matrix.store_errors(),
        matrix.calls(|_| true),
        matrix.holders(most),
        matrix.switches(),
    ];
    let mut plans: Vec<Plan> = cells.into_iter().flatten().map(Plan::from).collect();
    plans.extend(security::all());
    plans
}
