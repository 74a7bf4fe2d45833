//! Security groups: whether those around databases and deployment tools let in only whom they should, and a way in that
//! ends with the step that needs it.
//!
//! [`SecurityGroupGate`] judges the rules that let something in: open to the world, all traffic, a peer that nobody has
//! named. [`OpenIngress`] lets a peer in for a while, for a migration from outside of the network; [`CloseIngress`] ends
//! that, a failed run undoes it, and core's `Doctor` finds what a crash left, by [`IngressLeftovers`].
//!
//! Compiling the SDK's client of EC2, the largest of its services, took 214 s of a processor here, more than all other
//! services of this crate together.

mod calls;
mod gate;
mod ingress;
mod judge;
mod leftovers;
mod rule;
#[cfg(test)]
mod tests;

pub use self::{
    gate::{Groups, SecurityGroupGate},
    ingress::{CloseIngress, Ingress, IngressUndo, OpenIngress, Opened},
    judge::{Exposure, Finding, GroupPolicy, judge},
    leftovers::IngressLeftovers,
    rule::{Peer, Ports, Rule},
};

/// What a rule that is ours has as tags.
mod tags {
    /// Under which key it was opened.
    pub(super) const KEY: &str = "ecolaura-deploy:key";
    /// For which environment.
    pub(super) const ENVIRONMENT: &str = "ecolaura-deploy:environment";
    /// In which run.
    pub(super) const RUN: &str = "ecolaura-deploy:run";
    /// Until when it is needed.
    pub(super) const UNTIL: &str = "ecolaura-deploy:until";
}
