//! A small RDS for tests, examples and your own pipelines' tests: it takes its time as RDS does.
//!
//! What is asked for begins, and is done some requests later: a snapshot is `creating`, a restored database has no
//! endpoint yet, a renamed one is `renaming`, then for a moment under no name, then `modifying` under the new one. A
//! request that comes too early is refused as RDS refuses it. One request is one tick; nothing happens between requests.

mod doing;
mod state;
mod xml;

use std::sync::{Mutex, PoisonError};

use self::state::State;
use crate::form::Form;

/// A region with databases. Answers requests of the RDS API, by whatever way they come.
///
/// ```
/// let rds = ecolaura_deploy_aws::rds::fake::FakeRds::new().instance("shop");
/// let (status, body) = rds.answer("Action=DescribeDBInstances&DBInstanceIdentifier=shop");
/// assert!(status == 200 && body.contains("<DBInstanceStatus>available</DBInstanceStatus>"), "{body}");
/// ```
#[derive(Debug, Default)]
pub struct FakeRds(Mutex<State>);

impl FakeRds {
    /// Without databases.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        self
    }

    /// With an instance of `PostgreSQL` that is available, protected from being deleted, in groups of its own.
    pub fn instance(self, name: &str) -> Self {
        self.with(|state| state.put_instance(name))
    }

    /// With an Aurora cluster of `PostgreSQL` and its members.
    pub fn cluster(self, name: &str, members: &[&str]) -> Self {
        self.with(|state| state.put_cluster(name, members))
    }

    /// With an Aurora cluster of `PostgreSQL` and its members, all of them serverless.
    pub fn serverless_cluster(self, name: &str, members: &[&str]) -> Self {
        self.with(|state| state.put_serverless_cluster(name, members))
    }

    /// With a Multi-AZ cluster of `PostgreSQL`: RDS makes its three members, and nobody else changes them.
    pub fn multi_az_cluster(self, name: &str) -> Self {
        self.with(|state| state.put_multi_az_cluster(name))
    }

    /// With a snapshot of `name` that somebody else took as `id`.
    pub fn foreign_snapshot(self, name: &str, id: &str) -> Self {
        self.with(|state| state.put_snapshot(name, id))
    }

    /// Somebody takes a snapshot of `name` as `id`, by hand: it has the database's tags, as RDS copies them where nobody
    /// says others.
    pub fn take_by_hand(&self, name: &str, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put_snapshot(name, id);
    }

    /// Answers with so many things at once, and a marker for the others: all of them unless said otherwise.
    pub fn in_pages_of(self, number: usize) -> Self {
        self.with(|state| state.page = number)
    }

    /// Puts the database `name` into `status`.
    pub fn set_status(&self, name: &str, status: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).set_status(name, status);
    }

    /// Gives the database `name` another parameter group.
    pub fn set_parameters(&self, name: &str, group: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).set_parameters(name, group);
    }

    /// Gives the database `name` another engine, such as `mysql`.
    pub fn set_engine(&self, name: &str, engine: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).set_engine(name, engine);
    }

    /// Gives the instance `name` another class, such as `db.serverless`.
    pub fn set_class(&self, name: &str, class: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).set_class(name, class);
    }

    /// Lets RDS keep the master password of `name` in a secret.
    pub fn manage_password(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).manage_password(name);
    }

    /// Lets the database `name` take on the IAM role `arn`.
    pub fn give_role(&self, name: &str, arn: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).give_role(name, arn);
    }

    /// Lets the next snapshots fail.
    pub fn fail_snapshots(&self, number: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failing = number;
    }

    /// What there is: each database as `name resource status`, each snapshot as `id status`.
    pub fn listing(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).listing()
    }

    /// The status and the document that RDS answers `form` with.
    pub fn answer(&self, form: &str) -> (u16, String) {
        // RDS keeps names in lower case.
        let form = Form::parse(form).lower(|key| key.ends_with("Identifier"));
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.tick();
        let action = form.text("Action");
        match state.act(&action, &form) {
            Ok(result) => (200, xml::response(&action, &result)),
            Err(refusal) => (refusal.status, xml::refusal(&refusal)),
        }
    }
}
