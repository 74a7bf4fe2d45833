//! A database as RDS describes it.

use aws_sdk_rds::types::{DbCluster, DbInstance, Tag, VpcSecurityGroupMembership};
use aws_smithy_types::DateTime;
use ecolaura_deploy_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use super::{
    database::{Database, Endpoint},
    restored::Identity,
    tags,
    wait::{State, state},
};

/// An instance or a cluster.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    Instance(Box<DbInstance>),
    Cluster(Box<DbCluster>),
}

impl Seen {
    pub(super) fn database(&self) -> Database {
        match self {
            Self::Instance(seen) => Database::Instance(text(seen.db_instance_identifier())),
            Self::Cluster(seen) => Database::Cluster(text(seen.db_cluster_identifier())),
        }
    }

    pub(super) fn status(&self) -> &str {
        let status = match self {
            Self::Instance(seen) => seen.db_instance_status(),
            Self::Cluster(seen) => seen.status(),
        };
        status.unwrap_or("unknown")
    }

    pub(super) fn state(&self) -> State {
        state(self.status())
    }

    /// What stays the same when it is renamed.
    pub(super) fn identity(&self) -> Identity {
        let resource = match self {
            Self::Instance(seen) => seen.dbi_resource_id(),
            Self::Cluster(seen) => seen.db_cluster_resource_id(),
        };
        Identity { resource: text(resource), key: self.tag(tags::KEY).map(str::to_owned) }
    }

    fn tags(&self) -> &[Tag] {
        match self {
            Self::Instance(seen) => seen.tag_list(),
            Self::Cluster(seen) => seen.tag_list(),
        }
    }

    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        tag(self.tags(), key)
    }

    /// The tags that its owners gave it: backups, policies and bills go by them.
    pub(super) fn own_tags(&self) -> impl Iterator<Item = Tag> {
        let others =
            |tag: &&Tag| !["aws:", tags::PREFIX].iter().any(|start| tag.key().unwrap_or(start).starts_with(start));
        self.tags().iter().filter(others).cloned()
    }

    /// `postgres 16.4`
    pub(super) fn engine(&self) -> String {
        let (engine, version) = match self {
            Self::Instance(seen) => (seen.engine(), seen.engine_version()),
            Self::Cluster(seen) => (seen.engine(), seen.engine_version()),
        };
        format!("{} {}", engine.unwrap_or("unknown"), version.unwrap_or("unknown"))
    }

    /// Where it is reached. Fails with `Corrupt` if RDS does not say, which it does of every database that is available.
    pub(super) fn endpoint(&self, operation: &'static str) -> Result<Endpoint> {
        let (host, port) = match self {
            Self::Instance(seen) => {
                let endpoint = seen.endpoint();
                (
                    endpoint.and_then(|endpoint| endpoint.address()),
                    endpoint.and_then(aws_sdk_rds::types::Endpoint::port),
                )
            }
            Self::Cluster(seen) => (seen.endpoint(), seen.port()),
        };
        let port = port.and_then(|port| u16::try_from(port).ok());
        match (host, port) {
            (Some(host), Some(port)) => Ok(Endpoint::new(host, port)),
            _ => {
                let message = format!("{} has no endpoint", self.database());
                Err(Error::new(ErrorKind::Corrupt, operation, message).with("status", self.status()))
            }
        }
    }

    /// The newest time that it can be brought back to.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        match self {
            Self::Instance(seen) => seen.latest_restorable_time(),
            Self::Cluster(seen) => seen.latest_restorable_time(),
        }
        .and_then(timestamp)
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Instance(seen) => seen.instance_create_time(),
            Self::Cluster(seen) => seen.cluster_create_time(),
        }
        .and_then(timestamp)
    }

    pub(super) fn is_protected(&self) -> bool {
        match self {
            Self::Instance(seen) => seen.deletion_protection(),
            Self::Cluster(seen) => seen.deletion_protection(),
        }
        .unwrap_or_default()
    }

    /// The names of the members that are made and taken away one by one; none of an instance.
    pub(super) fn members(&self) -> Vec<String> {
        match self {
            Self::Instance(_) => Vec::new(),
            Self::Cluster(seen) if has_own_members(seen) => Vec::new(),
            Self::Cluster(seen) => {
                seen.db_cluster_members().iter().filter_map(|member| member.db_instance_identifier.clone()).collect()
            }
        }
    }

    /// What a restore would give up if nobody said it: setting and value, for people and for comparing.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let (subnets, groups, parameters) = match self {
            Self::Instance(seen) => (
                subnet_group(seen),
                groups(seen.vpc_security_groups()),
                seen.db_parameter_groups().first().and_then(|group| group.db_parameter_group_name()),
            ),
            Self::Cluster(seen) => {
                (seen.db_subnet_group(), groups(seen.vpc_security_groups()), seen.db_cluster_parameter_group())
            }
        };
        let named = |name: Option<&str>| name.unwrap_or("none").to_owned();
        vec![
            ("subnet group", named(subnets)),
            ("security groups", if groups.is_empty() { "none".to_owned() } else { groups.join(", ") }),
            ("parameter group", named(parameters)),
        ]
    }

    /// What is not brought along.
    pub(super) fn left_behind(&self) -> Vec<&'static str> {
        let (replicas, insights) = match self {
            Self::Instance(seen) => {
                (!seen.read_replica_db_instance_identifiers().is_empty(), seen.performance_insights_enabled())
            }
            Self::Cluster(seen) => (!seen.read_replica_identifiers().is_empty(), seen.performance_insights_enabled()),
        };
        let (secret, roles) = match self {
            Self::Instance(seen) => (seen.master_user_secret().is_some(), !seen.associated_roles().is_empty()),
            Self::Cluster(seen) => (seen.master_user_secret().is_some(), !seen.associated_roles().is_empty()),
        };
        let known = [
            (replicas, "its read replicas, which go on following the old one"),
            (insights == Some(true), "Performance Insights"),
            (
                secret,
                "the secret of the master password, which stays with the old one: the password is that of the data",
            ),
            (roles, "its IAM roles, which its imports and exports need: they have to be added to the restored one"),
        ];
        known.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect()
    }
}

/// Whether it is a Multi-AZ cluster, whose members RDS makes, names and takes away with it.
pub(super) fn has_own_members(seen: &DbCluster) -> bool {
    let is_aurora = seen.engine().is_some_and(|engine| engine.starts_with("aurora"));
    !is_aurora && seen.db_cluster_instance_class().is_some_and(|class| !class.is_empty())
}

pub(super) fn subnet_group(seen: &DbInstance) -> Option<&str> {
    seen.db_subnet_group().and_then(|group| group.db_subnet_group_name())
}

pub(super) fn groups(groups: &[VpcSecurityGroupMembership]) -> Vec<String> {
    let mut groups: Vec<_> = groups.iter().filter_map(|group| group.vpc_security_group_id.clone()).collect();
    groups.sort();
    groups
}

pub(super) fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

pub(super) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}
