//! The calls that make, rename and take away databases.

use aws_sdk_rds::{
    operation::{
        create_db_instance::CreateDBInstanceError, delete_db_cluster::DeleteDBClusterError,
        delete_db_instance::DeleteDBInstanceError, modify_db_cluster::ModifyDBClusterError,
        modify_db_instance::ModifyDBInstanceError,
        restore_db_cluster_from_snapshot::RestoreDBClusterFromSnapshotError as ClusterFromSnapshotError,
        restore_db_cluster_to_point_in_time::RestoreDBClusterToPointInTimeError as ClusterToTimeError,
        restore_db_instance_from_db_snapshot::RestoreDBInstanceFromDBSnapshotError as FromSnapshotError,
        restore_db_instance_to_point_in_time::RestoreDBInstanceToPointInTimeError as ToTimeError,
    },
    types::{DbCluster, DbInstance, ServerlessV2ScalingConfiguration, Tag},
};
use aws_smithy_types::DateTime;
use ecolaura_deploy_core::Result;
use jiff::Timestamp;

use super::{
    calls::{Asked, Calls, Refused, mark},
    database::Database,
    seen::{Seen, groups, has_own_members, subnet_group},
    tags,
};
use crate::called::implied;

/// From what a database is restored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Snapshot { id: &'a str, arn: &'a str },
    Time(Timestamp),
}

/// The settings that a restore gives up unless they are said again. Both kinds of restore have them under the same names.
macro_rules! like_instance {
    ($request:expr, $old:expr, $tags:expr) => {
        $request
            .set_db_instance_class($old.db_instance_class.clone())
            .set_db_subnet_group_name(subnet_group($old).map(str::to_owned))
            .set_vpc_security_group_ids(some(groups($old.vpc_security_groups())))
            .set_db_parameter_group_name(
                $old.db_parameter_groups().first().and_then(|group| group.db_parameter_group_name.clone()),
            )
            .set_option_group_name(option_group($old))
            .set_multi_az($old.multi_az)
            .set_publicly_accessible($old.publicly_accessible)
            .set_port($old.endpoint().and_then(|endpoint| endpoint.port()))
            .set_auto_minor_version_upgrade($old.auto_minor_version_upgrade)
            .set_copy_tags_to_snapshot($old.copy_tags_to_snapshot)
            .set_enable_iam_database_authentication($old.iam_database_authentication_enabled)
            .set_enable_cloudwatch_logs_exports($old.enabled_cloudwatch_logs_exports.clone())
            .set_ca_certificate_identifier($old.ca_certificate_identifier.clone())
            .set_network_type($old.network_type.clone())
            .set_tags(Some($tags))
    };
}

macro_rules! like_cluster {
    ($request:expr, $old:expr, $tags:expr) => {
        $request
            .set_db_subnet_group_name($old.db_subnet_group.clone())
            .set_vpc_security_group_ids(some(groups($old.vpc_security_groups())))
            .set_db_cluster_parameter_group_name($old.db_cluster_parameter_group.clone())
            .set_port($old.port)
            .set_db_cluster_instance_class($old.db_cluster_instance_class.clone())
            .set_storage_type($old.storage_type.clone())
            .set_iops($old.iops)
            .set_copy_tags_to_snapshot($old.copy_tags_to_snapshot)
            .set_enable_iam_database_authentication($old.iam_database_authentication_enabled)
            .set_enable_cloudwatch_logs_exports($old.enabled_cloudwatch_logs_exports.clone())
            .set_network_type(network_type($old))
            .set_publicly_accessible($old.publicly_accessible)
            .set_serverless_v2_scaling_configuration(capacity($old))
            .set_tags(Some($tags))
    };
}

impl Calls<'_> {
    /// Begins to restore `source` as `name`, with the settings of `old`.
    pub(super) async fn restore(&self, source: Source<'_>, old: &Seen, name: &str, tags: Vec<Tag>) -> Result<Asked> {
        let target = old.database().named(name).arn(&self.scope);
        implied("rds:AddTagsToResource", &target);
        match old {
            Seen::Instance(seen) => self.restore_instance(source, seen, name, (target, tags)).await,
            Seen::Cluster(seen) => self.restore_cluster(source, seen, name, (target, tags)).await,
        }
    }

    async fn restore_instance(
        &self,
        source: Source<'_>,
        old: &DbInstance,
        name: &str,
        (target, tags): (String, Vec<Tag>),
    ) -> Result<Asked> {
        match source {
            Source::Snapshot { id, arn } => {
                implied("rds:RestoreDBInstanceFromDBSnapshot", arn);
                self.implies_groups("rds:RestoreDBInstanceFromDBSnapshot", instance_groups(old));
                let call = self.writes("rds:RestoreDBInstanceFromDBSnapshot", target);
                let request = self.client.restore_db_instance_from_db_snapshot();
                let request = request.db_snapshot_identifier(id).db_instance_identifier(name);
                self.asked(&call, call.attempt(like_instance!(request, old, tags).send()).await?, |error| match error {
                    FromSnapshotError::DbInstanceAlreadyExistsFault(_) => Some(Refused::Exists),
                    FromSnapshotError::InvalidDbSnapshotStateFault(_) => Some(Refused::Busy),
                    _ => None,
                })
            }
            Source::Time(time) => {
                let from = old.db_instance_identifier.clone().unwrap_or_default();
                implied("rds:RestoreDBInstanceToPointInTime", &Database::Instance(from.clone()).arn(&self.scope));
                self.implies_groups("rds:RestoreDBInstanceToPointInTime", instance_groups(old));
                let call = self.writes("rds:RestoreDBInstanceToPointInTime", target);
                let request = self.client.restore_db_instance_to_point_in_time();
                let request = request.source_db_instance_identifier(from).target_db_instance_identifier(name);
                let request = like_instance!(request.restore_time(sent(time)), old, tags);
                self.asked(&call, call.attempt(request.send()).await?, |error| match error {
                    ToTimeError::DbInstanceAlreadyExistsFault(_) => Some(Refused::Exists),
                    ToTimeError::InvalidDbInstanceStateFault(_) => Some(Refused::Busy),
                    _ => None,
                })
            }
        }
    }

    async fn restore_cluster(
        &self,
        source: Source<'_>,
        old: &DbCluster,
        name: &str,
        (target, tags): (String, Vec<Tag>),
    ) -> Result<Asked> {
        match source {
            Source::Snapshot { id, arn } => {
                implied("rds:RestoreDBClusterFromSnapshot", arn);
                self.implies_groups("rds:RestoreDBClusterFromSnapshot", cluster_groups(old));
                let call = self.writes("rds:RestoreDBClusterFromSnapshot", target);
                let request = self.client.restore_db_cluster_from_snapshot();
                let request = request.snapshot_identifier(id).db_cluster_identifier(name);
                let request = request.set_engine(old.engine.clone()).set_engine_version(old.engine_version.clone());
                self.asked(&call, call.attempt(like_cluster!(request, old, tags).send()).await?, |error| match error {
                    ClusterFromSnapshotError::DbClusterAlreadyExistsFault(_) => Some(Refused::Exists),
                    ClusterFromSnapshotError::InvalidDbClusterSnapshotStateFault(_)
                    | ClusterFromSnapshotError::InvalidDbSnapshotStateFault(_) => Some(Refused::Busy),
                    _ => None,
                })
            }
            Source::Time(time) => {
                let from = old.db_cluster_identifier.clone().unwrap_or_default();
                implied("rds:RestoreDBClusterToPointInTime", &Database::Cluster(from.clone()).arn(&self.scope));
                self.implies_groups("rds:RestoreDBClusterToPointInTime", cluster_groups(old));
                let call = self.writes("rds:RestoreDBClusterToPointInTime", target);
                let request = self.client.restore_db_cluster_to_point_in_time();
                let request = request.source_db_cluster_identifier(from).db_cluster_identifier(name);
                let request = like_cluster!(request.restore_to_time(sent(time)), old, tags);
                self.asked(&call, call.attempt(request.send()).await?, |error| match error {
                    ClusterToTimeError::DbClusterAlreadyExistsFault(_) => Some(Refused::Exists),
                    ClusterToTimeError::InvalidDbClusterStateFault(_) => Some(Refused::Busy),
                    _ => None,
                })
            }
        }
    }

    /// Says that making a database needs `action` on its groups too: the account's default where none is named.
    fn implies_groups(&self, action: &'static str, groups: [(&str, Option<&str>); 3]) {
        for (kind, name) in groups {
            implied(action, &self.scope.arn("rds", format_args!("{kind}:{}", name.unwrap_or("default"))));
        }
    }

    /// Begins to make the instance `name` in the restored `cluster`, like the member `old` of the old one.
    pub(super) async fn join(&self, cluster: &str, old: &DbInstance, name: &str, tags: Vec<Tag>) -> Result<Asked> {
        let target = Database::Instance(name.to_owned()).arn(&self.scope);
        implied("rds:AddTagsToResource", &target);
        implied("rds:CreateDBInstance", &Database::Cluster(cluster.to_owned()).arn(&self.scope));
        let request = self.client.create_db_instance().db_instance_identifier(name).db_cluster_identifier(cluster);
        let parameters = old.db_parameter_groups().first().and_then(|group| group.db_parameter_group_name.clone());
        let request = request
            .set_engine(old.engine.clone())
            .set_db_instance_class(old.db_instance_class.clone())
            .set_db_parameter_group_name(parameters)
            .set_publicly_accessible(old.publicly_accessible)
            .set_promotion_tier(old.promotion_tier)
            .set_auto_minor_version_upgrade(old.auto_minor_version_upgrade)
            .set_ca_certificate_identifier(old.ca_certificate_identifier.clone())
            .set_tags(Some(tags));
        self.implies_groups("rds:CreateDBInstance", instance_groups(old));
        let call = self.writes("rds:CreateDBInstance", target);
        self.asked(&call, call.attempt(request.send()).await?, |error| match error {
            CreateDBInstanceError::DbInstanceAlreadyExistsFault(_) => Some(Refused::Exists),
            CreateDBInstanceError::InvalidDbClusterStateFault(_) => Some(Refused::Busy),
            _ => None,
        })
    }

    /// Begins to rename `database`; with `protected`, whether it can be deleted is set too.
    pub(super) async fn rename(&self, database: &Database, to: &str, protected: Option<bool>) -> Result<Asked> {
        let arn = database.arn(&self.scope);
        match database {
            Database::Instance(name) => {
                let request = self.client.modify_db_instance().db_instance_identifier(name);
                let request = request.new_db_instance_identifier(to).apply_immediately(true);
                let request = request.set_deletion_protection(protected);
                let call = self.writes("rds:ModifyDBInstance", arn);
                self.asked(&call, call.attempt(request.send()).await?, |error| match error {
                    ModifyDBInstanceError::InvalidDbInstanceStateFault(_) => Some(Refused::Busy),
                    ModifyDBInstanceError::DbInstanceAlreadyExistsFault(_) => Some(Refused::Exists),
                    _ => None,
                })
            }
            Database::Cluster(name) => {
                let request = self.client.modify_db_cluster().db_cluster_identifier(name);
                let request = request.new_db_cluster_identifier(to).apply_immediately(true);
                let request = request.set_deletion_protection(protected);
                let call = self.writes("rds:ModifyDBCluster", arn);
                self.asked(&call, call.attempt(request.send()).await?, |error| match error {
                    ModifyDBClusterError::InvalidDbClusterStateFault(_)
                    | ModifyDBClusterError::InvalidDbInstanceStateFault(_) => Some(Refused::Busy),
                    ModifyDBClusterError::DbClusterAlreadyExistsFault(_) => Some(Refused::Exists),
                    _ => None,
                })
            }
        }
    }

    /// Remembers in `database` that it has had the name that programs know.
    pub(super) async fn serves(&self, database: &Database) -> Result<()> {
        let arn = database.arn(&self.scope);
        let request = self.client.add_tags_to_resource().resource_name(&arn).tags(mark(tags::SERVED, "true")).send();
        self.writes("rds:AddTagsToResource", &arn).send(request).await.map(drop)
    }

    /// Begins to take `database` away, without a last snapshot: it is a copy of one.
    pub(super) async fn delete(&self, database: &Database) -> Result<Asked> {
        let arn = database.arn(&self.scope);
        match database {
            Database::Instance(name) => {
                let request = self.client.delete_db_instance().db_instance_identifier(name);
                let request = request.skip_final_snapshot(true).delete_automated_backups(true);
                let call = self.writes("rds:DeleteDBInstance", arn);
                self.asked(&call, call.attempt(request.send()).await?, |error| match error {
                    DeleteDBInstanceError::DbInstanceNotFoundFault(_) => Some(Refused::Done),
                    DeleteDBInstanceError::InvalidDbInstanceStateFault(_) => Some(Refused::Busy),
                    _ => None,
                })
            }
            Database::Cluster(name) => {
                let request = self.client.delete_db_cluster().db_cluster_identifier(name).skip_final_snapshot(true);
                let call = self.writes("rds:DeleteDBCluster", arn);
                self.asked(&call, call.attempt(request.send()).await?, |error| match error {
                    DeleteDBClusterError::DbClusterNotFoundFault(_) => Some(Refused::Done),
                    DeleteDBClusterError::InvalidDbClusterStateFault(_) => Some(Refused::Busy),
                    _ => None,
                })
            }
        }
    }
}

/// The kinds of groups that an instance is in, as ARNs have them, and their names.
fn instance_groups(old: &DbInstance) -> [(&str, Option<&str>); 3] {
    let parameters = old.db_parameter_groups().first().and_then(|group| group.db_parameter_group_name());
    let options = old.option_group_memberships().first().and_then(|group| group.option_group_name());
    [("pg", parameters), ("og", options), ("subgrp", subnet_group(old))]
}

fn cluster_groups(old: &DbCluster) -> [(&str, Option<&str>); 3] {
    [("cluster-pg", old.db_cluster_parameter_group()), ("og", None), ("subgrp", old.db_subnet_group())]
}

/// The option group, if it is one that somebody made; the default one comes by itself.
fn option_group(old: &DbInstance) -> Option<String> {
    let name = old.option_group_memberships().first().and_then(|group| group.option_group_name.clone());
    name.filter(|name| !name.starts_with("default:"))
}

/// Multi-AZ clusters have only one.
fn network_type(old: &DbCluster) -> Option<String> {
    old.network_type.clone().filter(|_| !has_own_members(old))
}

/// Between which capacities a serverless cluster is; without them it takes no serverless member.
fn capacity(old: &DbCluster) -> Option<ServerlessV2ScalingConfiguration> {
    let seen = old.serverless_v2_scaling_configuration()?;
    let capacity = ServerlessV2ScalingConfiguration::builder()
        .set_min_capacity(seen.min_capacity())
        .set_max_capacity(seen.max_capacity())
        .set_seconds_until_auto_pause(seen.seconds_until_auto_pause());
    Some(capacity.build())
}

fn some(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}

fn sent(time: Timestamp) -> DateTime {
    DateTime::from_secs(time.as_second())
}
