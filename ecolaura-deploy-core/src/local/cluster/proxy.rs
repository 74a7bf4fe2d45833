//! The way of a request from a Service's address to a pod: weighted, drained, never lost once accepted.

mod drain;
mod forward;
mod listener;
mod pick;
mod route;

pub(super) use self::{
    drain::Backend,
    listener::{Listener, Use},
    route::Router,
};
