//! The calls on security groups and their rules.

use aws_sdk_ec2::{
    Client,
    types::{Filter, IpPermission, IpRange, Ipv6Range, ResourceType, Tag, TagSpecification, UserIdGroupPair},
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use ecolaura_deploy_core::{Context, Error, ErrorKind, Result};
use ipnet::IpNet;

use super::rule::{Peer, Ports, Rule};
use crate::{Account, Scope, called::implied};

/// How many values a filter may have.
const VALUES: usize = 200;

/// The calls of one operation.
pub(super) struct Calls<'a> {
    account: &'a Account,
    cx: &'a Context,
    operation: &'static str,
    client: Client,
    scope: Scope,
}

/// The ARN of a security group.
pub(super) fn group_arn(scope: &Scope, group: &str) -> String {
    scope.arn("ec2", format_args!("security-group/{group}"))
}

/// The ARN of all rules: nobody knows the id of one before it is there.
pub(super) fn rules_arn(scope: &Scope) -> String {
    scope.arn("ec2", "security-group-rule/*")
}

impl<'a> Calls<'a> {
    pub(super) async fn new(account: &'a Account, (cx, operation): (&'a Context, &'static str)) -> Result<Self> {
        cx.check(operation)?;
        let scope = account.scope(cx).await?;
        Ok(Self { account, cx, operation, client: Client::new(account.sdk_config()), scope })
    }

    /// The ids of the groups that have a tag.
    pub(super) async fn tagged(&self, key: &str, value: &str) -> Result<Vec<String>> {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let call = self.account.reads((self.cx, self.operation), "ec2:DescribeSecurityGroups", "*");
            let request = self.client.describe_security_groups().filters(filter(&format!("tag:{key}"), value));
            let page = call.send(request.set_next_token(next).send()).await?;
            found.extend(page.security_groups.unwrap_or_default().into_iter().filter_map(|group| group.group_id));
            next = page.next_token;
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    /// The rules of `groups` that let something in. Fails with `NotFound` for a group that is not there.
    pub(super) async fn rules(&self, groups: &[String]) -> Result<Vec<Rule>> {
        for group in groups {
            // The rules of a group that is not there are none, which looks as if all were well.
            let call = self.account.reads((self.cx, self.operation), "ec2:DescribeSecurityGroups", "*");
            call.send(self.client.describe_security_groups().group_ids(group).send()).await?;
        }
        let mut found = Vec::new();
        for groups in groups.chunks(VALUES) {
            let groups = Filter::builder().name("group-id").set_values(Some(groups.to_vec())).build();
            found.extend(self.filtered(groups).await?);
        }
        Ok(found)
    }

    /// The rules of `group`, which is there, that let something in.
    pub(super) async fn rules_of(&self, group: &str) -> Result<Vec<Rule>> {
        self.filtered(filter("group-id", group)).await
    }

    /// The rules that have a tag and let something in.
    pub(super) async fn rules_tagged(&self, key: &str, value: &str) -> Result<Vec<Rule>> {
        self.filtered(filter(&format!("tag:{key}"), value)).await
    }

    async fn filtered(&self, filter: Filter) -> Result<Vec<Rule>> {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let call = self.account.reads((self.cx, self.operation), "ec2:DescribeSecurityGroupRules", "*");
            let request = self.client.describe_security_group_rules().filters(filter.clone());
            let page = call.send(request.set_next_token(next).send()).await?;
            for rule in page.security_group_rules() {
                found.extend(Rule::read(rule)?);
            }
            next = page.next_token;
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    /// Lets `peer` in to `ports`; `None` if somebody has done so already.
    pub(super) async fn open(
        &self,
        (group, peer, ports): (&str, &Peer, &Ports),
        description: &str,
        tags: Vec<(&str, String)>,
    ) -> Result<Option<Rule>> {
        for action in ["ec2:AuthorizeSecurityGroupIngress", "ec2:CreateTags"] {
            implied(action, &rules_arn(&self.scope));
        }
        let call = self.account.writes(
            (self.cx, self.operation),
            "ec2:AuthorizeSecurityGroupIngress",
            group_arn(&self.scope, group),
        );
        let tags = tags.into_iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let tags = TagSpecification::builder().resource_type(ResourceType::SecurityGroupRule).set_tags(Some(tags));
        let request = self.client.authorize_security_group_ingress().group_id(group);
        let request = request.ip_permissions(permission(peer, ports, description)).tag_specifications(tags.build());
        let answer = match call.attempt(request.send()).await? {
            Ok(answer) => answer,
            Err(error) => {
                let code = error.as_service_error().and_then(|error| error.code());
                return if code == Some("InvalidPermission.Duplicate") { Ok(None) } else { Err(call.failed(&error)) };
            }
        };
        let rule = answer.security_group_rules().first().map(Rule::read).transpose()?.flatten();
        rule.map(Some).ok_or_else(|| Error::new(ErrorKind::Corrupt, self.operation, "the answer names no rule"))
    }

    /// Takes the rule `id` of `group` away; what is gone is success.
    pub(super) async fn close(&self, group: &str, id: &str) -> Result<()> {
        let call = self.account.writes(
            (self.cx, self.operation),
            "ec2:RevokeSecurityGroupIngress",
            group_arn(&self.scope, group),
        );
        let request = self.client.revoke_security_group_ingress().group_id(group).security_group_rule_ids(id);
        match call.attempt(request.send()).await? {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error().and_then(|error| error.code()) {
                Some(
                    "InvalidSecurityGroupRuleId.NotFound" | "InvalidPermission.NotFound" | "InvalidGroup.NotFound",
                ) => Ok(()),
                _ => Err(call.failed(&error)),
            },
        }
    }
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn permission(peer: &Peer, ports: &Ports, description: &str) -> IpPermission {
    let (protocol, from, to) = match ports {
        Ports::All => ("-1", None, None),
        Ports::Range { protocol, from, to } => (protocol.as_str(), Some(i32::from(*from)), Some(i32::from(*to))),
        Ports::Other(protocol) => (protocol.as_str(), Some(-1), Some(-1)),
    };
    let permission = IpPermission::builder().ip_protocol(protocol).set_from_port(from).set_to_port(to);
    match peer {
        Peer::Addresses(IpNet::V4(net)) => {
            permission.ip_ranges(IpRange::builder().cidr_ip(net.to_string()).description(description).build())
        }
        Peer::Addresses(IpNet::V6(net)) => {
            permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(net.to_string()).description(description).build())
        }
        Peer::Group(id) => {
            permission.user_id_group_pairs(UserIdGroupPair::builder().group_id(id).description(description).build())
        }
        Peer::PrefixList(id) => permission.prefix_list_ids(
            aws_sdk_ec2::types::PrefixListId::builder().prefix_list_id(id).description(description).build(),
        ),
    }
    .build()
}
