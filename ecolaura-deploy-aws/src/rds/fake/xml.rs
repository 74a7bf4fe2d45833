//! The documents that RDS writes.

use super::state::{Refusal, Snapshot, Thing, restorable};

pub(super) fn element(name: &str, content: impl std::fmt::Display) -> String {
    format!("<{name}>{content}</{name}>")
}

pub(super) fn response(action: &str, result: &str) -> String {
    element(&format!("{action}Response"), element(&format!("{action}Result"), result))
}

pub(super) fn refusal(refusal: &Refusal) -> String {
    let Refusal { code, message, .. } = refusal;
    let error = format!("<Type>Sender</Type>{}{}", element("Code", code), element("Message", message));
    element("ErrorResponse", element("Error", error) + "<RequestId>request-1</RequestId>")
}

/// Who asks, as STS says it: whoever asks RDS asks that first.
pub(super) fn identity() -> String {
    let arn = "arn:aws:sts::111122223333:assumed-role/deployer/ci";
    element("Arn", arn) + &element("UserId", "AROA:ci") + &element("Account", "111122223333")
}

fn tags<'a>(tags: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let tag = |(key, value): (&String, &String)| element("Tag", element("Key", key) + &element("Value", value));
    element("TagList", tags.into_iter().map(tag).collect::<String>())
}

fn groups(groups: &[String]) -> String {
    let group = |id: &String| element("VpcSecurityGroupMembership", element("VpcSecurityGroupId", id));
    element("VpcSecurityGroups", groups.iter().map(group).collect::<String>())
}

/// The secret and the roles of a database.
fn credentials(seen: &Thing, role: &str) -> String {
    let arn = format!("arn:aws:secretsmanager:eu-central-1:111122223333:secret:rds!{}", seen.resource);
    let secret = if seen.secret { element("MasterUserSecret", element("SecretArn", arn)) } else { String::new() };
    let roles: String = seen.roles.iter().map(|arn| element(role, element("RoleArn", arn))).collect();
    secret + &element("AssociatedRoles", roles)
}

fn capacity((least, most): &(String, String)) -> String {
    let range = element("MinCapacity", least) + &element("MaxCapacity", most);
    element("ServerlessV2ScalingConfiguration", range)
}

pub(super) fn instance(seen: &Thing) -> String {
    let name = seen.name.as_deref().unwrap_or_default();
    let mut text = [
        element("DBInstanceIdentifier", name),
        element("DbiResourceId", &seen.resource),
        element("DBInstanceArn", format_args!("arn:aws:rds:eu-central-1:111122223333:db:{name}")),
        element("DBInstanceStatus", &seen.status),
        element("DBInstanceClass", seen.class.as_deref().unwrap_or_default()),
        element("Engine", &seen.engine),
        element("EngineVersion", "16.4"),
        element("DeletionProtection", seen.protected),
        element("InstanceCreateTime", seen.created),
        element("LatestRestorableTime", restorable()),
        element("DBSubnetGroup", element("DBSubnetGroupName", &seen.subnets)),
        element("DBParameterGroups", element("DBParameterGroup", element("DBParameterGroupName", &seen.parameters))),
        groups(&seen.groups),
        tags(&seen.tags),
        credentials(seen, "DBInstanceRole"),
    ]
    .concat();
    if seen.status != "creating" {
        let host = format!("{name}.fake.eu-central-1.rds.amazonaws.com");
        text += &element("Endpoint", element("Address", host) + &element("Port", 5432));
    }
    if let Some(cluster) = &seen.cluster {
        text += &element("DBClusterIdentifier", cluster);
    }
    element("DBInstance", text)
}

pub(super) fn cluster(seen: &Thing, members: &[Thing]) -> String {
    let name = seen.name.as_deref().unwrap_or_default();
    let member = |member: &Thing| {
        element("DBClusterMember", element("DBInstanceIdentifier", member.name.as_deref().unwrap_or_default()))
    };
    let text = [
        element("DBClusterIdentifier", name),
        element("DbClusterResourceId", &seen.resource),
        element("DBClusterArn", format_args!("arn:aws:rds:eu-central-1:111122223333:cluster:{name}")),
        element("Status", &seen.status),
        element("Engine", &seen.engine),
        element("EngineVersion", "16.4"),
        element("DeletionProtection", seen.protected),
        element("ClusterCreateTime", seen.created),
        element("LatestRestorableTime", restorable()),
        element("Endpoint", format_args!("{name}.cluster-fake.eu-central-1.rds.amazonaws.com")),
        element("Port", 5432),
        element("DBSubnetGroup", &seen.subnets),
        element("DBClusterParameterGroup", &seen.parameters),
        element("DBClusterMembers", members.iter().map(member).collect::<String>()),
        groups(&seen.groups),
        tags(&seen.tags),
        credentials(seen, "DBClusterRole"),
        seen.class.iter().map(|class| element("DBClusterInstanceClass", class)).collect(),
        seen.capacity.iter().map(capacity).collect(),
    ];
    element("DBCluster", text.concat())
}

pub(super) fn snapshot(seen: &Snapshot) -> String {
    let (kind, of, arn) = if seen.of_cluster {
        ("DBClusterSnapshot", "DBClusterIdentifier", "cluster-snapshot")
    } else {
        ("DBSnapshot", "DBInstanceIdentifier", "snapshot")
    };
    let id = &seen.id;
    let text = [
        element(&format!("{kind}Identifier"), id),
        element(&format!("{kind}Arn"), format_args!("arn:aws:rds:eu-central-1:111122223333:{arn}:{id}")),
        element(of, &seen.source),
        element("Status", &seen.status),
        element("PercentProgress", if seen.status == "available" { 100 } else { 40 }),
        element("SnapshotCreateTime", seen.taken),
        element("Engine", "postgres"),
        element("EngineVersion", "16.4"),
        element("AllocatedStorage", 20),
        tags(&seen.tags),
    ];
    element(kind, text.concat())
}
