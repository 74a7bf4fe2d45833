//! Reading Kubernetes manifests: files and folders to objects that know their file, document and line, and a list of
//! problems that is told at once.
//!
//! What an object may hold is for whoever applies it to say: the embedded cluster has a schema, an API server its own.

mod load;
mod notes;
mod tree;

pub use self::{
    load::{Object, load},
    notes::{Field, Notes, Origin, suggestion},
    tree::{Entry, Node, Value},
};
