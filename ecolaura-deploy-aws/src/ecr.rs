//! The registry of an account: logging in, repositories as they are declared, and what its scans found.

mod login;
mod repository;
mod scan;

pub use self::{
    login::{EcrLogin, ecr_registry},
    repository::{EcrRepository, EcrUndo, Move, Mutability},
    scan::EcrScanner,
};
use crate::Scope;

/// The host of an account's registry.
///
/// ```
/// use ecolaura_deploy_aws::{Scope, ecr::registry_host};
/// let scope = Scope::new("eu-central-1", "111122223333");
/// assert_eq!(registry_host(&scope), "111122223333.dkr.ecr.eu-central-1.amazonaws.com");
/// ```
pub fn registry_host(scope: &Scope) -> String {
    format!("{}.dkr.ecr.{}.{}", scope.account, scope.region, scope.domain())
}

fn resource(scope: &Scope, repository: &str) -> String {
    scope.arn("ecr", format_args!("repository/{repository}"))
}
