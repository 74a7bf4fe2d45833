//! What there is, and what becomes of it by itself.

use std::collections::BTreeMap;

use ecolaura_deploy_core::clock::{Clock as _, SystemClock};
use jiff::{SignedDuration, Timestamp};

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// A database.
#[derive(Debug, Clone)]
pub(super) struct Thing {
    pub(super) is_cluster: bool,
    /// None for a moment while it is renamed.
    pub(super) name: Option<String>,
    pub(super) resource: String,
    pub(super) status: String,
    pub(super) engine: String,
    pub(super) protected: bool,
    pub(super) created: Timestamp,
    pub(super) subnets: String,
    pub(super) parameters: String,
    pub(super) groups: Vec<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// The cluster that it is in.
    pub(super) cluster: Option<String>,
    /// The class of an instance; of a cluster only where RDS makes its members.
    pub(super) class: Option<String>,
    /// The least and the most capacity of a serverless cluster.
    pub(super) capacity: Option<(String, String)>,
    /// Whether RDS keeps its master password in a secret.
    pub(super) secret: bool,
    pub(super) roles: Vec<String>,
}

/// The class of what nobody gave another one.
pub(super) const CLASS: &str = "db.t4g.medium";

/// What RDS calls the members that it makes by itself.
pub(super) fn own_members(cluster: &str) -> [String; 3] {
    [1, 2, 3].map(|number| format!("{cluster}-instance-{number}"))
}

/// RDS keeps up to some minutes ago.
pub(super) fn restorable() -> Timestamp {
    let now = now();
    now.checked_sub(SignedDuration::from_mins(5)).unwrap_or(now)
}

#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) of_cluster: bool,
    pub(super) id: String,
    pub(super) source: String,
    pub(super) status: String,
    pub(super) taken: Timestamp,
    pub(super) tags: BTreeMap<String, String>,
}

/// A call that is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
}

pub(super) fn refuse<T>(status: u16, code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, code, message: message.into() })
}

/// What happens by itself.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Status(String, &'static str),
    Name(String, Option<String>),
    Gone(String),
    Snapshot(String, &'static str),
}

#[derive(Debug, Default)]
pub(super) struct State {
    now: u64,
    made: u32,
    pub(super) failing: u32,
    /// How many things an answer has at the most; 0 is all of them.
    pub(super) page: usize,
    pub(super) things: Vec<Thing>,
    pub(super) snapshots: Vec<Snapshot>,
    events: Vec<(u64, Event)>,
}

impl State {
    /// One more request has come.
    pub(super) fn tick(&mut self) {
        self.now += 1;
        let (due, later) = std::mem::take(&mut self.events).into_iter().partition(|(at, _)| *at <= self.now);
        self.events = later;
        let due: Vec<(u64, Event)> = due;
        for (_, event) in due {
            self.happens(event);
        }
    }

    pub(super) fn later(&mut self, ticks: u64, event: Event) {
        self.events.push((self.now + ticks, event));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Status(resource, status) => self.of(&resource, |thing| status.clone_into(&mut thing.status)),
            Event::Name(resource, name) => self.of(&resource, |thing| thing.name.clone_from(&name)),
            Event::Gone(resource) => self.things.retain(|thing| thing.resource != resource),
            Event::Snapshot(id, status) => {
                let found = self.snapshots.iter_mut().filter(|snapshot| snapshot.id == id);
                found.for_each(|snapshot| status.clone_into(&mut snapshot.status));
            }
        }
    }

    pub(super) fn of(&mut self, resource: &str, change: impl Fn(&mut Thing)) {
        self.things.iter_mut().filter(|thing| thing.resource == resource).for_each(change);
    }

    /// The name of a new resource.
    pub(super) fn resource(&mut self, is_cluster: bool) -> String {
        self.made += 1;
        format!("{}-FAKE{:04}", if is_cluster { "cluster" } else { "db" }, self.made)
    }

    pub(super) fn named(&mut self, is_cluster: bool, name: &str) -> Option<&mut Thing> {
        let same = |thing: &&mut Thing| thing.is_cluster == is_cluster && thing.name.as_deref() == Some(name);
        self.things.iter_mut().find(same)
    }

    fn put(&mut self, is_cluster: bool, name: &str, cluster: Option<&str>) {
        let name = name.to_lowercase();
        let resource = self.resource(is_cluster);
        let engine = if is_cluster || cluster.is_some() { "aurora-postgresql" } else { "postgres" };
        self.things.push(Thing {
            is_cluster,
            name: Some(name),
            resource,
            status: "available".to_owned(),
            engine: engine.to_owned(),
            protected: cluster.is_none(),
            created: now(),
            subnets: "inner".to_owned(),
            parameters: "shop-16".to_owned(),
            groups: vec!["sg-shop".to_owned()],
            tags: BTreeMap::new(),
            cluster: cluster.map(str::to_lowercase),
            class: (!is_cluster).then(|| CLASS.to_owned()),
            capacity: None,
            secret: false,
            roles: Vec::new(),
        });
    }

    fn all_named(&mut self, name: &str) -> impl Iterator<Item = &mut Thing> {
        self.things.iter_mut().filter(move |thing| thing.name.as_deref() == Some(name))
    }

    pub(super) fn put_serverless_cluster(&mut self, name: &str, members: &[&str]) {
        self.put_cluster(name, members);
        let capacity = Some(("0.5".to_owned(), "8".to_owned()));
        self.all_named(name).for_each(|thing| thing.capacity.clone_from(&capacity));
        members.iter().for_each(|member| self.set_class(member, "db.serverless"));
    }

    pub(super) fn put_multi_az_cluster(&mut self, name: &str) {
        let members = own_members(name);
        self.put_cluster(name, &members.each_ref().map(String::as_str));
        self.set_class(name, CLASS);
        members.iter().map(String::as_str).chain([name]).for_each(|name| self.set_engine(name, "postgres"));
    }

    pub(super) fn set_class(&mut self, name: &str, class: &str) {
        self.all_named(name).for_each(|thing| thing.class = Some(class.to_owned()));
    }

    pub(super) fn manage_password(&mut self, name: &str) {
        self.all_named(name).for_each(|thing| thing.secret = true);
    }

    pub(super) fn give_role(&mut self, name: &str, arn: &str) {
        self.all_named(name).for_each(|thing| thing.roles.push(arn.to_owned()));
    }

    pub(super) fn put_instance(&mut self, name: &str) {
        self.put(false, name, None);
    }

    pub(super) fn put_cluster(&mut self, name: &str, members: &[&str]) {
        self.put(true, name, None);
        members.iter().for_each(|member| self.put(false, member, Some(name)));
    }

    pub(super) fn put_snapshot(&mut self, source: &str, id: &str) {
        let of_cluster = self.named(true, source).is_some();
        let tags = self.named(of_cluster, source).map(|thing| thing.tags.clone()).unwrap_or_default();
        self.snapshots.push(Snapshot {
            of_cluster,
            id: id.to_owned(),
            source: source.to_owned(),
            status: "available".to_owned(),
            taken: now(),
            tags,
        });
    }

    pub(super) fn set_status(&mut self, name: &str, status: &str) {
        self.all_named(name).for_each(|thing| status.clone_into(&mut thing.status));
    }

    pub(super) fn set_parameters(&mut self, name: &str, group: &str) {
        self.all_named(name).for_each(|thing| group.clone_into(&mut thing.parameters));
    }

    pub(super) fn set_engine(&mut self, name: &str, engine: &str) {
        self.all_named(name).for_each(|thing| engine.clone_into(&mut thing.engine));
    }

    pub(super) fn listing(&self) -> Vec<String> {
        let things = self
            .things
            .iter()
            .map(|thing| format!("{} {} {}", thing.name.as_deref().unwrap_or("?"), thing.resource, thing.status));
        things.chain(self.snapshots.iter().map(|seen| format!("{} {}", seen.id, seen.status))).collect()
    }
}
