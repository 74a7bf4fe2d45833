//! The engine with real processes: a small server, compiled once, in folders made by hand in the place of images.

mod bench;
mod candidates;
mod failing;
mod load;
mod rolling;
mod serving;
mod surviving;

pub(super) use self::bench::{service, variable};
