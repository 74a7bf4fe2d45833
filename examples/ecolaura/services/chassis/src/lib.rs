//! What both services stand on: an HTTP server that ends gracefully, health, metrics, JSON logs and the database.

mod config;
mod database;
mod flags;
mod http;
mod log;
mod metrics;
mod misbehave;
mod server;

pub use config::Config;
pub use database::{Database, SCHEMA};
pub use flags::Flags;
pub use http::{Call, Problem, Reply, Route, State};
pub use log::{Level, Log};
pub use misbehave::Misbehaviour;
pub use server::{About, run};
