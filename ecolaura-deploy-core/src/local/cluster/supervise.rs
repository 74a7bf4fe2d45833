//! One pod: a process, its probes, its log, and what becomes of it.

mod backoff;
mod guardian;
mod logs;
mod pod;
mod probe;
mod process;

pub(super) use self::{
    logs::PodLog,
    pod::{PodSpec, PodStatus, Retirement, Watched, supervise},
    process::{end_leftover, still_runs},
};
