//! Ecolaura's backend: plants, the notes that people write about them, and when they were watered.

use std::process::ExitCode;

use chassis::{About, Route};

mod care;
mod fields;
mod plants;
mod summary;

#[cfg(test)]
mod testing;

const VERSION: &str = include_str!("../../../VERSION");

const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/api/summary", answer: summary::read },
    Route { method: "GET", path: "/api/flags", answer: summary::flags },
    Route { method: "GET", path: "/api/plants", answer: plants::list },
    Route { method: "POST", path: "/api/plants", answer: plants::add },
    Route { method: "GET", path: "/api/plants/{id}", answer: plants::read },
    Route { method: "DELETE", path: "/api/plants/{id}", answer: plants::remove },
    Route { method: "GET", path: "/api/plants/{id}/notes", answer: care::notes },
    Route { method: "POST", path: "/api/plants/{id}/notes", answer: care::add_note },
    Route { method: "GET", path: "/api/plants/{id}/waterings", answer: care::waterings },
    Route { method: "POST", path: "/api/plants/{id}/waterings", answer: care::add_watering },
];

fn main() -> ExitCode {
    chassis::run(About { service: "backend", version: VERSION.trim_ascii() }, ROUTES)
}
