//! What rules are found to be.

mod ingress;

use ecolaura_deploy_core::{
    Verdict,
    analysis::scan::AllowEntry,
    step::{Planned, Step as _},
};
use jiff::civil::{Date, date};

use super::*;
use crate::fake::{Answer, Asked, FakeAws, cx, unknown};

const TODAY: Date = date(2026, 11, 26);

fn addresses(text: &str) -> Peer {
    Peer::Addresses(text.parse().unwrap())
}

fn found(peer: Peer, ports: Ports, policy: &GroupPolicy) -> Vec<Exposure> {
    let rules = [Rule::new("sgr-1", "sg-db", peer, ports)];
    judge(&rules, policy, TODAY).1.into_iter().map(|finding| finding.exposure).collect()
}

#[test]
fn what_the_world_reaches_is_found_in_both_versions_and_in_halves() {
    let policy = GroupPolicy::new();
    for world in ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3"] {
        assert_eq!(found(addresses(world), Ports::tcp(5432), &policy), [Exposure::WorldOpen], "{world}");
        let wide = Ports::Range { protocol: "tcp".to_owned(), from: 1000, to: 4000 };
        assert_eq!(found(addresses(world), wide, &policy), [Exposure::WorldOpen], "{world}");
        assert!(found(addresses(world), Ports::tcp(443), &policy).is_empty(), "{world}");
    }
    assert!(found(addresses("10.0.0.0/8"), Ports::tcp(22), &policy).is_empty());
    let policy = policy.admin_port(8080);
    assert_eq!(found(addresses("::/0"), Ports::tcp(8080), &policy), [Exposure::WorldOpen]);
}

#[test]
fn all_traffic_is_found_unless_the_group_speaks_with_itself() {
    let policy = GroupPolicy::new();
    assert_eq!(found(Peer::Group("sg-web".to_owned()), Ports::All, &policy), [Exposure::AllTraffic]);
    assert!(found(Peer::Group("sg-db".to_owned()), Ports::All, &policy).is_empty());
    assert_eq!(found(addresses("0.0.0.0/0"), Ports::All, &policy), [Exposure::WorldOpen, Exposure::AllTraffic]);
}

#[test]
fn once_peers_are_named_all_others_are_found() {
    let policy = GroupPolicy::new().network("10.1.0.0/16".parse().unwrap()).group("sg-web");
    for known in [addresses("10.1.2.0/24"), Peer::Group("sg-web".to_owned()), Peer::Group("sg-db".to_owned())] {
        assert!(found(known.clone(), Ports::tcp(5432), &policy).is_empty(), "{known}");
    }
    let others = [
        addresses("10.0.0.0/8"),
        addresses("fd00::/8"),
        Peer::Group("sg-x".to_owned()),
        Peer::PrefixList("pl-1".to_owned()),
    ];
    for unknown in others {
        assert_eq!(found(unknown.clone(), Ports::tcp(5432), &policy), [Exposure::UnknownPeer], "{unknown}");
    }
}

#[test]
fn a_finding_is_tolerated_up_to_its_day_and_not_longer() {
    let rules = [Rule::new("sgr-1", "sg-db", addresses("0.0.0.0/0"), Ports::tcp(22))];
    let until = |day| {
        let entry = AllowEntry::new("sg-db/world-open/tcp/22/0.0.0.0/0", day, "the office moves");
        judge(&rules, &GroupPolicy::new().allow(entry), TODAY)
    };
    let (verdict, _, lines) = until(TODAY);
    assert_eq!(verdict, Verdict::Pass);
    assert!(lines[0].ends_with("tolerated until 2026-11-26: the office moves"), "{lines:?}");
    let (verdict, findings, lines) = until(date(2026, 11, 25));
    assert_eq!((verdict, findings.len()), (Verdict::Fail, 1));
    assert!(lines[0].ends_with("was tolerated until 2026-11-25"), "{lines:?}");
}

#[test]
fn of_two_tolerances_the_longer_one_counts() {
    let rules = [Rule::new("sgr-1", "sg-db", addresses("0.0.0.0/0"), Ports::tcp(22))];
    let entry = |day| AllowEntry::new("sg-db/world-open/tcp/22/0.0.0.0/0", day, "the office moves");
    let policy = GroupPolicy::new().allow(entry(TODAY)).allow(entry(date(2026, 11, 25)));
    assert_eq!(judge(&rules, &policy, TODAY).0, Verdict::Pass);
}

#[test]
fn a_rule_for_what_goes_out_lets_nobody_in() {
    let rule = |egress| {
        let rule = aws_sdk_ec2::types::SecurityGroupRule::builder().is_egress(egress).cidr_ipv4("0.0.0.0/0");
        Rule::read(&rule.ip_protocol("-1").build()).unwrap()
    };
    assert!(rule(true).is_none() && rule(false).is_some());
}

#[test]
fn ports_are_read_as_ec2_writes_them() {
    assert_eq!(Ports::of("-1", Some(-1), Some(-1)), Ports::All);
    assert_eq!(Ports::of("6", Some(22), Some(22)), Ports::tcp(22));
    assert_eq!(Ports::of("icmp", Some(-1), Some(-1)), Ports::Other("icmp".to_owned()));
    assert!(Ports::of("tcp", None, None).has(22), "what is not said is everything");
}

/// A rule as EC2 writes it.
fn item(id: &str, group: &str) -> String {
    let rule = format!("<securityGroupRuleId>{id}</securityGroupRuleId><groupId>{group}</groupId>");
    let rule = format!("{rule}<isEgress>false</isEgress><ipProtocol>tcp</ipProtocol><fromPort>5432</fromPort>");
    format!("<item>{rule}<toPort>5432</toPort><cidrIpv4>192.0.2.0/28</cidrIpv4></item>")
}

fn rules(items: &str, next: &str) -> Answer {
    let inner = format!("<securityGroupRuleSet>{items}</securityGroupRuleSet>{next}");
    Answer::Text(200, format!("<DescribeSecurityGroupRulesResponse>{inner}</DescribeSecurityGroupRulesResponse>"))
}

#[tokio::test]
async fn rules_on_later_pages_and_of_many_groups_are_judged() {
    let fake = FakeAws::new(|asked: &Asked| {
        let text = asked.text();
        match asked.operation.as_str() {
            "DescribeSecurityGroups" => Answer::Text(
                200,
                "<DescribeSecurityGroupsResponse><securityGroupInfo/></DescribeSecurityGroupsResponse>".to_owned(),
            ),
            "DescribeSecurityGroupRules" if text.contains("Filter.1.Value.201=") => {
                let error = "<Error><Code>InvalidParameterValue</Code><Message>too many</Message></Error>";
                Answer::Text(400, format!("<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"))
            }
            "DescribeSecurityGroupRules" if !text.contains("NextToken=") => {
                rules(&item("sgr-1", "sg-1"), "<nextToken>page-2</nextToken>")
            }
            "DescribeSecurityGroupRules" => rules(&item("sgr-2", "sg-1"), ""),
            _ => unknown(),
        }
    });
    let ids = (0..201).map(|number| format!("sg-{number}"));
    let policy = GroupPolicy::new().network("10.0.0.0/8".parse().unwrap());
    let gate = SecurityGroupGate::<bool>::new(&fake.account(1), Groups::ids(ids), policy);
    let error = gate.apply(&cx(), true).await.unwrap_err();
    // Two pages for 200 groups, and two for the last one.
    assert_eq!(error.report().matches("unknown-peer").count(), 4, "{error:?}");
}

#[tokio::test]
async fn the_plan_warns_where_no_group_has_the_tag() {
    let none = "<DescribeSecurityGroupsResponse><securityGroupInfo/></DescribeSecurityGroupsResponse>";
    let fake = FakeAws::new(|asked: &Asked| match asked.operation.as_str() {
        "DescribeSecurityGroups" => Answer::Text(200, none.to_owned()),
        _ => unknown(),
    });
    let groups = Groups::tagged("tier", "datbase");
    let gate = SecurityGroupGate::<bool>::new(&fake.account(1), groups, GroupPolicy::new());
    let warnings = gate.plan(&cx(), Planned::Known(true)).await.unwrap().warnings;
    assert!(warnings[0].contains("there is no security group to look at") && warnings[0].contains("datbase"));
}
