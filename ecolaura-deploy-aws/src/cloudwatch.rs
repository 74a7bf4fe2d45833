//! `CloudWatch`: metrics for judging a candidate, and alarms as a gate.

mod alarms;
mod layout;
mod metrics;
mod reading;
#[cfg(test)]
mod tests;

pub use self::{
    alarms::{AlarmGate, Alarms},
    layout::Layout,
    metrics::CloudWatchMetrics,
};
