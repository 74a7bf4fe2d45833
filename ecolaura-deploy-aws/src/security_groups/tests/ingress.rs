//! Ingress that is opened and closed again, by a small EC2 that shows a rule some looks after it is there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use ecolaura_deploy_core::{Effect, ErrorKind, step::Step as _};

use super::{addresses, rules};
use crate::{
    fake::{Answer, Asked, FakeAws, cx, unknown},
    form::Form,
    security_groups::*,
};

#[derive(Debug, Clone)]
struct Held {
    id: String,
    description: String,
    tags: BTreeMap<String, String>,
    /// How many looks do not show it.
    hidden: u32,
}

impl Held {
    fn written(&self) -> String {
        let tag = |(key, value)| format!("<item><key>{key}</key><value>{value}</value></item>");
        let tags: String = self.tags.iter().map(tag).collect();
        let what = format!("<description>{}</description><tagSet>{tags}</tagSet>", self.description);
        super::item(&self.id, "sg-db").replace("</item>", &format!("{what}</item>"))
    }

    fn has(&self, form: &Form) -> bool {
        match form.text("Filter.1.Name").strip_prefix("tag:") {
            Some(tag) => self.tags.get(tag).map(String::as_str) == form.get("Filter.1.Value.1"),
            None => true,
        }
    }
}

/// A group that lets in from one place at the most.
#[derive(Debug, Default)]
struct State {
    rules: Vec<Held>,
    made: u32,
    /// How many looks do not show a new rule.
    late: u32,
    /// Whether the next rule is made and not answered.
    lost: bool,
}

impl State {
    fn list(&mut self, form: &Form) -> Answer {
        let shown = self.rules.iter().filter(|rule| rule.hidden == 0 && rule.has(form));
        let answer = rules(&shown.map(Held::written).collect::<String>(), "");
        self.rules.iter_mut().for_each(|rule| rule.hidden = rule.hidden.saturating_sub(1));
        answer
    }

    fn open(&mut self, form: &Form) -> Answer {
        if !self.rules.is_empty() {
            let error = "<Error><Code>InvalidPermission.Duplicate</Code><Message>it is there</Message></Error>";
            return Answer::Text(400, format!("<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"));
        }
        self.made += 1;
        let (id, tags) = (format!("sgr-{}", self.made), form.pairs("TagSpecification.1.Tag"));
        let description = form.text("IpPermissions.1.IpRanges.1.Description");
        self.rules.push(Held { id, description, tags, hidden: self.late });
        if std::mem::take(&mut self.lost) {
            return Answer::Lost;
        }
        let set: String = self.rules.iter().map(Held::written).collect();
        let inner = format!("<return>true</return><securityGroupRuleSet>{set}</securityGroupRuleSet>");
        let name = "AuthorizeSecurityGroupIngressResponse";
        Answer::Text(200, format!("<{name}>{inner}</{name}>"))
    }

    fn close(&mut self, form: &Form) -> Answer {
        let id = form.text("SecurityGroupRuleId.1");
        self.rules.retain(|rule| rule.id != id);
        let name = "RevokeSecurityGroupIngressResponse";
        Answer::Text(200, format!("<{name}><return>true</return></{name}>"))
    }
}

#[derive(Debug, Clone, Default)]
struct FakeEc2(Arc<Mutex<State>>);

impl FakeEc2 {
    fn late(late: u32) -> Self {
        Self(Arc::new(Mutex::new(State { late, ..State::default() })))
    }

    fn has(self, description: &str, tags: &[(&str, &str)]) -> Self {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (id, description) = ("sgr-other".to_owned(), description.to_owned());
        self.0.lock().unwrap().rules.push(Held { id, description, tags, hidden: 0 });
        self
    }

    fn lose(self) -> Self {
        self.0.lock().unwrap().lost = true;
        self
    }

    fn rules(&self) -> Vec<String> {
        self.0.lock().unwrap().rules.iter().map(|rule| rule.id.clone()).collect()
    }

    fn serve(&self) -> FakeAws {
        let fake = self.clone();
        FakeAws::new(move |asked: &Asked| {
            let (form, mut state) = (Form::parse(&asked.text()), fake.0.lock().unwrap());
            match asked.operation.as_str() {
                "DescribeSecurityGroupRules" => state.list(&form),
                "AuthorizeSecurityGroupIngress" => state.open(&form),
                "RevokeSecurityGroupIngress" => state.close(&form),
                _ => unknown(),
            }
        })
    }
}

fn opening(aws: &FakeAws) -> OpenIngress {
    let ingress = Ingress::new("sg-db", addresses("192.0.2.7/28"), Ports::tcp(5432), Duration::from_mins(30));
    OpenIngress::new(&aws.account(2), ingress)
}

#[tokio::test(start_paused = true)]
async fn a_rule_whose_answer_was_lost_is_found_once_ec2_shows_it_and_closed() {
    let ec2 = FakeEc2::late(4).lose();
    let aws = ec2.serve();
    let opened = opening(&aws).apply(&cx(), ()).await.unwrap().output;
    assert_eq!(opened.rule.as_deref(), Some("sgr-1"));
    CloseIngress::new(&aws.account(2)).apply(&cx(), opened).await.unwrap();
    assert!(ec2.rules().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_another_run_has_opened_is_a_conflict_that_names_it_and_stays() {
    let tags = [("ecolaura-deploy:key", "theirs"), ("ecolaura-deploy:run", "20261126-7")];
    let ec2 = FakeEc2::default().has("ecolaura-deploy: run 20261126-7, until then", &tags);
    let error = opening(&ec2.serve()).apply(&cx(), ()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error:?}");
    assert!(error.report().contains("192.0.2.0/28 to tcp/5432 in sg-db is open already, for run 20261126-7"));
    assert_eq!(ec2.rules(), ["sgr-other"]);
}

#[tokio::test(start_paused = true)]
async fn what_no_run_has_opened_stays() {
    let ec2 = FakeEc2::default().has("the office", &[]);
    let opened = opening(&ec2.serve()).apply(&cx(), ()).await.unwrap().output;
    assert_eq!(opened.rule, None);
    CloseIngress::new(&ec2.serve().account(2)).apply(&cx(), opened).await.unwrap();
    assert_eq!(ec2.rules(), ["sgr-other"]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_not_shown_or_not_with_its_tags_is_told_as_an_unknown_effect() {
    for ec2 in [FakeEc2::late(100).lose(), FakeEc2::default().has("ecolaura-deploy: run 20261126-7, until then", &[])] {
        let error = opening(&ec2.serve()).apply(&cx(), ()).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn undoing_goes_by_the_rule_that_was_opened_and_waits_for_one_that_is_not_known() {
    let ec2 = FakeEc2::late(100);
    let step = opening(&ec2.serve());
    let undo = step.apply(&cx(), ()).await.unwrap().undo.unwrap();
    step.undoer().unwrap().undo(&cx(), undo).await.unwrap();
    assert!(ec2.rules().is_empty(), "by its id");

    let ec2 = FakeEc2::late(3).lose();
    let step = opening(&ec2.serve());
    let undo = step.prepare(&cx(), &()).await.unwrap().unwrap();
    // As the process left it that heard no answer.
    let tags = [("ecolaura-deploy:key", key_of(&undo).as_str())].map(|(key, of)| (key.to_owned(), of.to_owned()));
    let (id, description) = ("sgr-1".to_owned(), String::new());
    ec2.0.lock().unwrap().rules.push(Held { id, description, tags: tags.into(), hidden: 3 });
    step.undoer().unwrap().undo(&cx(), undo).await.unwrap();
    assert!(ec2.rules().is_empty(), "by its key");
}

fn key_of(undo: &IngressUndo) -> String {
    let json = serde_json::to_value(undo).unwrap();
    json["key"].as_str().unwrap().to_owned()
}
