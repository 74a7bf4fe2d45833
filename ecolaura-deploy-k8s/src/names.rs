//! The names that this crate writes into a cluster.

/// Who owns the fields that are applied.
pub(crate) const MANAGER: &str = "ecolaura-deploy";

/// Who owns the fields that an operation changed beside the manifests: paused, scaled, restarted.
pub(crate) const OPERATOR: &str = "ecolaura-deploy-operate";

/// Label of pods, and of what records them: the Deployment that they belong to.
pub(crate) const SERVICE: &str = "deploy.ecolaura.io/service";

/// Label of pods: `stable` or `candidate`.
pub(crate) const TRACK: &str = "deploy.ecolaura.io/track";

/// Label of every object of a workload that has a name.
pub(crate) const WORKLOAD: &str = "deploy.ecolaura.io/workload";

/// Annotation of pod templates: the revision that this crate gave them.
pub(crate) const REVISION: &str = "deploy.ecolaura.io/revision";

/// Annotation of a `ConfigMap` or `Secret`: `"false"` keeps its name as it is, so that running pods see it change.
pub(crate) const VERSIONED: &str = "deploy.ecolaura.io/versioned";

/// Annotation of any object: `keep` leaves it in the cluster when it leaves the manifests.
pub(crate) const ON_REMOVE: &str = "deploy.ecolaura.io/on-remove";

/// Annotation of any object: those that must be ready before it, as `kind/name` or `group/kind/name`, with commas between.
pub(crate) const DEPENDS_ON: &str = "deploy.ecolaura.io/depends-on";

/// Label of what this crate keeps for itself.
pub(crate) const PART: &str = "deploy.ecolaura.io/part";

/// Annotation of every applied object: a digest over what was applied, so that the same again is known without asking.
pub(crate) const APPLIED: &str = "deploy.ecolaura.io/applied";

/// Annotation of Deployments: the edition that they are of.
pub(crate) const EDITION: &str = "deploy.ecolaura.io/edition";

/// Annotations of editions: the run that kept them, and its epoch.
pub(crate) const RUN: &str = "deploy.ecolaura.io/run";
pub(crate) const EPOCH: &str = "deploy.ecolaura.io/epoch";

/// Label of versioned `ConfigMap`s and `Secret`s: their name in the manifests.
pub(crate) const BASE: &str = "deploy.ecolaura.io/base";
