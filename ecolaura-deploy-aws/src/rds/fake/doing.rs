//! What is done when it is asked for.

use super::{
    state::{CLASS, Event, Refusal, Snapshot, State, Thing, now, own_members, refuse},
    xml,
};
use crate::form::Form;

/// How many requests RDS needs.
const SOON: u64 = 3;
const LATER: u64 = 6;

impl State {
    /// The inside of the answer.
    pub(super) fn act(&mut self, action: &str, form: &Form) -> Result<String, Refusal> {
        match action {
            "DescribeDBInstances" => self.describe(false, form.get("DBInstanceIdentifier"), form),
            "DescribeDBClusters" => self.describe(true, form.get("DBClusterIdentifier"), form),
            "DescribeDBSnapshots" => {
                self.describe_snapshots(false, "DBSnapshotIdentifier", "DBInstanceIdentifier", form)
            }
            "DescribeDBClusterSnapshots" => {
                self.describe_snapshots(true, "DBClusterSnapshotIdentifier", "DBClusterIdentifier", form)
            }
            "CreateDBSnapshot" => self.snapshot(false, &form.text("DBSnapshotIdentifier"), form),
            "CreateDBClusterSnapshot" => self.snapshot(true, &form.text("DBClusterSnapshotIdentifier"), form),
            "RestoreDBInstanceFromDBSnapshot" => self.restore_snapshot(false, &form.text("DBSnapshotIdentifier"), form),
            "RestoreDBClusterFromSnapshot" => self.restore_snapshot(true, &form.text("SnapshotIdentifier"), form),
            "RestoreDBInstanceToPointInTime" => {
                let source = form.text("SourceDBInstanceIdentifier");
                self.restore(false, &source, &form.text("TargetDBInstanceIdentifier"), form)
            }
            "RestoreDBClusterToPointInTime" => {
                let source = form.text("SourceDBClusterIdentifier");
                self.restore(true, &source, &form.text("DBClusterIdentifier"), form)
            }
            "CreateDBInstance" => self.join(form),
            "ModifyDBInstance" => self.modify(false, form),
            "ModifyDBCluster" => self.modify(true, form),
            "DeleteDBInstance" => self.delete(false, &form.text("DBInstanceIdentifier")),
            "DeleteDBCluster" => self.delete(true, &form.text("DBClusterIdentifier")),
            "DeleteDBSnapshot" => Ok(self.forget(&form.text("DBSnapshotIdentifier"))),
            "DeleteDBClusterSnapshot" => Ok(self.forget(&form.text("DBClusterSnapshotIdentifier"))),
            "GetCallerIdentity" => Ok(xml::identity()),
            "AddTagsToResource" => self.tag(form),
            _ => refuse(400, "InvalidAction", format!("{action} is not known here")),
        }
    }

    fn existing(&mut self, is_cluster: bool, name: &str) -> Result<&mut Thing, Refusal> {
        let code = if is_cluster { "DBClusterNotFoundFault" } else { "DBInstanceNotFound" };
        self.named(is_cluster, name).map_or_else(|| refuse(404, code, format!("{name} not found")), Ok)
    }

    /// The database, if it can be worked with.
    fn ready(&mut self, is_cluster: bool, name: &str) -> Result<&mut Thing, Refusal> {
        let code = if is_cluster { "InvalidDBClusterStateFault" } else { "InvalidDBInstanceState" };
        let found = self.existing(is_cluster, name)?;
        match found.status.as_str() {
            "available" => Ok(found),
            status => refuse(400, code, format!("{name} is in state {status}")),
        }
    }

    fn describe(&mut self, is_cluster: bool, name: Option<&str>, form: &Form) -> Result<String, Refusal> {
        if let Some(name) = name {
            self.existing(is_cluster, name)?;
        }
        let wished = |thing: &&Thing| {
            thing.is_cluster == is_cluster && thing.name.is_some() && (name.is_none() || thing.name.as_deref() == name)
        };
        let found: Vec<_> = self.things.iter().filter(wished).map(|thing| self.written(thing)).collect();
        Ok(self.paged(if is_cluster { "DBClusters" } else { "DBInstances" }, &found, form))
    }

    /// The things that the form's marker leads to, and the marker of those behind them.
    fn paged(&self, list: &str, found: &[String], form: &Form) -> String {
        let start = form.text("Marker").parse().unwrap_or(0);
        let number = if self.page == 0 { found.len() } else { self.page };
        let page: String = found.iter().skip(start).take(number).map(String::as_str).collect();
        let next = start + number;
        let marker = if next < found.len() { xml::element("Marker", next) } else { String::new() };
        xml::element(list, page) + &marker
    }

    fn written(&self, thing: &Thing) -> String {
        if !thing.is_cluster {
            return xml::instance(thing);
        }
        xml::cluster(thing, &self.members(thing))
    }

    fn describe_snapshots(&self, of_cluster: bool, id: &str, of: &str, form: &Form) -> Result<String, Refusal> {
        let (id, of) = (form.get(id), form.get(of));
        let wished = |seen: &&Snapshot| {
            seen.of_cluster == of_cluster
                && id.is_none_or(|id| seen.id == id)
                && of.is_none_or(|source| seen.source == source)
        };
        let found: Vec<_> = self.snapshots.iter().filter(wished).map(xml::snapshot).collect();
        if let (Some(id), true) = (id, found.is_empty()) {
            let code = if of_cluster { "DBClusterSnapshotNotFoundFault" } else { "DBSnapshotNotFound" };
            return refuse(404, code, format!("{id} not found"));
        }
        Ok(self.paged(if of_cluster { "DBClusterSnapshots" } else { "DBSnapshots" }, &found, form))
    }

    fn snapshot(&mut self, of_cluster: bool, id: &str, form: &Form) -> Result<String, Refusal> {
        let source = form.text(if of_cluster { "DBClusterIdentifier" } else { "DBInstanceIdentifier" });
        let resource = self.ready(of_cluster, &source)?.resource.clone();
        if self.snapshots.iter().any(|seen| seen.id == id) {
            let code = if of_cluster { "DBClusterSnapshotAlreadyExistsFault" } else { "DBSnapshotAlreadyExists" };
            return refuse(400, code, format!("{id} already exists"));
        }
        let (tags, status) = (form.pairs("Tags.Tag"), "creating".to_owned());
        self.snapshots.push(Snapshot { of_cluster, id: id.to_owned(), source, status, taken: now(), tags });
        let end = if self.failing > 0 { "failed" } else { "available" };
        self.failing = self.failing.saturating_sub(1);
        self.later(LATER, Event::Snapshot(id.to_owned(), end));
        self.for_a_while(resource, "backing-up", LATER);
        Ok(String::new())
    }

    fn for_a_while(&mut self, resource: String, status: &'static str, ticks: u64) {
        self.things.iter_mut().filter(|thing| thing.resource == resource).for_each(|thing| {
            status.clone_into(&mut thing.status);
        });
        self.later(ticks, Event::Status(resource, "available"));
    }

    fn restore_snapshot(&mut self, is_cluster: bool, id: &str, form: &Form) -> Result<String, Refusal> {
        let id = id.rsplit(':').next().unwrap_or_default();
        let Some(seen) = self.snapshots.iter().find(|seen| seen.id == id) else {
            let code = if is_cluster { "DBClusterSnapshotNotFoundFault" } else { "DBSnapshotNotFound" };
            return refuse(404, code, format!("{id} not found"));
        };
        let source = seen.source.clone();
        let name = form.text(if is_cluster { "DBClusterIdentifier" } else { "DBInstanceIdentifier" });
        self.restore(is_cluster, &source, &name, form)
    }

    /// What is not said gets the account's defaults.
    fn restore(&mut self, is_cluster: bool, source: &str, name: &str, form: &Form) -> Result<String, Refusal> {
        let engine = self.existing(is_cluster, source)?.engine.clone();
        self.vacant(is_cluster, name)?;
        let said = |key: &str| form.get(key).unwrap_or("default").to_owned();
        let groups = form.list("VpcSecurityGroupIds.VpcSecurityGroupId");
        let capacity = |end: &str| form.get(&format!("ServerlessV2ScalingConfiguration.{end}Capacity"));
        let resource = self.resource(is_cluster);
        self.things.push(Thing {
            is_cluster,
            name: Some(name.to_owned()),
            resource: resource.clone(),
            status: String::new(),
            engine,
            protected: form.get("DeletionProtection") == Some("true"),
            created: now(),
            subnets: said("DBSubnetGroupName"),
            parameters: said(if is_cluster { "DBClusterParameterGroupName" } else { "DBParameterGroupName" }),
            groups: if groups.is_empty() { vec!["sg-default".to_owned()] } else { groups },
            tags: form.pairs("Tags.Tag"),
            cluster: None,
            class: if is_cluster {
                form.get("DBClusterInstanceClass").map(str::to_owned)
            } else {
                Some(form.get("DBInstanceClass").unwrap_or(CLASS).to_owned())
            },
            capacity: capacity("Min").zip(capacity("Max")).map(|(least, most)| (least.to_owned(), most.to_owned())),
            secret: false,
            roles: Vec::new(),
        });
        if is_cluster && form.get("DBClusterInstanceClass").is_some() {
            self.make_members(&resource);
        }
        self.for_a_while(resource, "creating", LATER);
        Ok(String::new())
    }

    /// Makes the members of a cluster that has its own.
    fn make_members(&mut self, cluster: &str) {
        let Some(like) = self.things.iter().find(|thing| thing.resource == cluster).cloned() else { return };
        for name in own_members(like.name.as_deref().unwrap_or_default()) {
            let resource = self.resource(false);
            self.things.push(Thing {
                is_cluster: false,
                name: Some(name),
                resource: resource.clone(),
                cluster: Some(like.resource.clone()),
                ..like.clone()
            });
            self.for_a_while(resource, "creating", LATER);
        }
    }

    /// The members of `cluster`, which those that were there from the start know by its name.
    fn members(&self, cluster: &Thing) -> Vec<Thing> {
        let its = |thing: &&Thing| {
            let of = thing.cluster.as_deref();
            of.is_some() && (of == Some(&cluster.resource) || of == cluster.name.as_deref())
        };
        self.things.iter().filter(its).cloned().collect()
    }

    /// What a member of a cluster that makes its own is only with that.
    fn on_its_own(&mut self, is_cluster: bool, name: &str) -> Result<(), Refusal> {
        let thing = self.existing(is_cluster, name)?.clone();
        let managing = self.things.iter().filter(|cluster| cluster.is_cluster && cluster.class.is_some());
        if managing.into_iter().any(|cluster| self.members(cluster).iter().any(|of| of.resource == thing.resource)) {
            let message = "This operation is not supported for a DB instance in a Multi-AZ DB cluster";
            return refuse(400, "InvalidParameterCombination", message);
        }
        Ok(())
    }

    fn vacant(&mut self, is_cluster: bool, name: &str) -> Result<(), Refusal> {
        let code = if is_cluster { "DBClusterAlreadyExistsFault" } else { "DBInstanceAlreadyExists" };
        if self.named(is_cluster, name).is_some() {
            return refuse(400, code, format!("{name} already exists"));
        }
        Ok(())
    }

    fn join(&mut self, form: &Form) -> Result<String, Refusal> {
        let (name, cluster) = (form.text("DBInstanceIdentifier"), form.text("DBClusterIdentifier"));
        let like = self.ready(true, &cluster)?.clone();
        self.vacant(false, &name)?;
        let class = form.text("DBInstanceClass");
        if like.class.is_some() {
            return refuse(400, "InvalidParameterCombination", "A Multi-AZ DB cluster has the instances that it has");
        }
        if class == "db.serverless" && like.capacity.is_none() {
            return refuse(400, "InvalidDBClusterStateFault", "The cluster has no Serverless v2 scaling configuration");
        }
        let resource = self.resource(false);
        self.things.push(Thing {
            is_cluster: false,
            name: Some(name),
            resource: resource.clone(),
            protected: false,
            created: now(),
            tags: form.pairs("Tags.Tag"),
            cluster: Some(like.resource.clone()),
            class: Some(class),
            capacity: None,
            ..like
        });
        self.for_a_while(resource, "creating", LATER);
        Ok(String::new())
    }

    fn modify(&mut self, is_cluster: bool, form: &Form) -> Result<String, Refusal> {
        let (id, new) = if is_cluster {
            ("DBClusterIdentifier", "NewDBClusterIdentifier")
        } else {
            ("DBInstanceIdentifier", "NewDBInstanceIdentifier")
        };
        let new = form.text(new);
        self.on_its_own(is_cluster, &form.text(id))?;
        self.ready(is_cluster, &form.text(id))?;
        self.vacant(is_cluster, &new)?;
        let thing = self.existing(is_cluster, &form.text(id))?;
        if let Some(protected) = form.get("DeletionProtection") {
            thing.protected = protected == "true";
        }
        // What members of a cluster that was there from the start know it by.
        let (resource, old) = (thing.resource.clone(), thing.name.clone());
        if is_cluster {
            let members = self.things.iter_mut().filter(|member| member.cluster.is_some() && member.cluster == old);
            members.for_each(|member| member.cluster = Some(resource.clone()));
        }
        self.for_a_while(resource.clone(), "renaming", LATER + SOON);
        self.later(SOON, Event::Name(resource.clone(), None));
        self.later(LATER, Event::Status(resource.clone(), "modifying"));
        self.later(LATER, Event::Name(resource, Some(new)));
        Ok(String::new())
    }

    fn delete(&mut self, is_cluster: bool, name: &str) -> Result<String, Refusal> {
        self.on_its_own(is_cluster, name)?;
        let thing = self.existing(is_cluster, name)?.clone();
        if thing.protected {
            return refuse(400, "InvalidParameterCombination", "Cannot delete protected DB Instance");
        }
        let members = if is_cluster { self.members(&thing) } else { Vec::new() };
        if thing.class.is_none() && members.iter().any(|member| member.status != "deleting") {
            return refuse(400, "InvalidDBClusterStateFault", "The cluster still contains instances");
        }
        for gone in members.into_iter().chain([thing]) {
            self.of(&gone.resource, |thing| "deleting".clone_into(&mut thing.status));
            self.later(LATER, Event::Gone(gone.resource));
        }
        Ok(String::new())
    }

    fn forget(&mut self, id: &str) -> String {
        self.snapshots.retain(|seen| seen.id != id);
        String::new()
    }

    fn tag(&mut self, form: &Form) -> Result<String, Refusal> {
        let arn = form.text("ResourceName");
        let is_cluster = arn.contains(":cluster:");
        let name = arn.rsplit(':').next().unwrap_or_default().to_owned();
        let tags = form.pairs("Tags.Tag");
        self.existing(is_cluster, &name)?.tags.extend(tags);
        Ok(String::new())
    }
}
