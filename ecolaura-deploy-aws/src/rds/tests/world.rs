//! A region with databases, processes in it, and runs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ecolaura_deploy_core::{
    lock::{Holder, LockPolicy, Wait},
    pipeline::{Pipeline, constant},
    run::{Finished, RunResult, Runner},
    steps::Command,
    store::{ObjectRunStore, RunStore},
};
use tokio::sync::Notify;

use crate::{
    fake::{Answer, Asked, FakeAws, cx, unknown},
    rds::{fake::FakeRds, *},
};

/// A moment of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// It never reaches RDS.
    Before,
    /// RDS has done it, and nobody hears of it.
    After,
    /// It is refused, and the process lives on.
    Refused,
    /// RDS wants to be asked later, however often the SDK tries.
    Throttled,
    /// RDS has done it and the answer is lost, however often the SDK tries. The process lives on.
    Lost,
}

impl Moment {
    /// How often the SDK tries.
    fn attempts(self) -> u32 {
        if matches!(self, Self::Throttled | Self::Lost) { 2 } else { 1 }
    }

    fn is_at(self, first: usize, call: usize) -> bool {
        (first..first + self.attempts() as usize).contains(&call)
    }
}

/// The region, and how often it was called.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) rds: Arc<FakeRds>,
    store: Arc<dyn RunStore>,
    calls: Arc<AtomicUsize>,
}

impl World {
    pub(super) fn new(rds: FakeRds) -> Self {
        Self { rds: Arc::new(rds), store: Arc::new(ObjectRunStore::memory()), calls: Arc::default() }
    }

    /// AWS, which the process that calls it gets into `fault` with.
    fn aws(&self, fault: Option<(usize, Moment)>, died: &Arc<Notify>) -> FakeAws {
        let (world, died) = (self.clone(), Arc::clone(died));
        FakeAws::new(move |asked: &Asked| {
            if asked.operation == "GetCallerIdentity" {
                return unknown();
            }
            let call = world.calls.fetch_add(1, Ordering::SeqCst);
            let moment = fault.and_then(|(at, moment)| moment.is_at(at, call).then_some(moment));
            match moment {
                Some(Moment::Refused) => return Answer::xml_refusal(403, "AccessDenied", "not now"),
                Some(Moment::Throttled) => return Answer::xml_refusal(400, "Throttling", "Rate exceeded"),
                Some(Moment::Lost) => {
                    world.rds.answer(&asked.text());
                    return Answer::Lost;
                }
                _ => {}
            }
            if moment != Some(Moment::Before) {
                let (status, text) = world.rds.answer(&asked.text());
                if moment.is_none() {
                    return Answer::Text(status, text);
                }
            }
            died.notify_one();
            Answer::Silence
        })
    }

    pub(super) fn fake(&self) -> FakeAws {
        self.aws(None, &Arc::default())
    }

    pub(super) fn instance(&self) -> RdsDatabase {
        RdsDatabase::instance(&self.fake().account(1), "shop")
    }

    /// The runner of process `number`, on a machine of its own.
    fn runner(&self, number: u32) -> Runner {
        Runner::new(Arc::clone(&self.store))
            .holder(Holder::new(format!("machine-{number}"), number, ""))
            .lock(LockPolicy::default().wait(Wait::Queue(std::time::Duration::from_mins(10))))
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Runs what `make` makes of the database; `None` if the process was killed, or refused before the run.
    pub(super) async fn run(
        &self,
        make: impl Fn(&RdsDatabase) -> Pipeline,
        fault: Option<(usize, Moment)>,
    ) -> Option<RunResult> {
        let died = Arc::new(Notify::new());
        let attempts = fault.map_or(1, |(_, moment)| moment.attempts());
        let database = RdsDatabase::instance(&self.aws(fault, &died).account(attempts), "shop");
        let work = async {
            let runner = self.runner(1);
            let done = async {
                let plan = runner.plan(&cx(), make(&database)).await?;
                runner.run(&cx(), plan).await
            };
            match done.await {
                Err(_) if matches!(fault, Some((_, Moment::Refused | Moment::Throttled | Moment::Lost))) => None,
                done => Some(done.unwrap().result),
            }
        };
        tokio::select! {
            biased;
            () = died.notified() => None,
            result = work => result,
        }
    }

    /// Another process goes on with the run that is open; `None` if none is.
    pub(super) async fn resume(&self, make: impl Fn(&RdsDatabase) -> Pipeline) -> Option<RunResult> {
        let finished = self.runner(2).resume(&cx(), make(&self.instance())).await.unwrap();
        finished.map(|finished: Finished| finished.result)
    }

    /// Gives the database `name` a tag of ours.
    pub(super) fn tag(&self, name: &str, key: &str, value: &str) {
        let arn = format!("arn:aws:rds:eu-central-1:111122223333:db:{name}");
        let tag = format!("Tags.Tag.1.Key=ecolaura-deploy:{key}&Tags.Tag.1.Value={value}");
        let (status, text) = self.rds.answer(&format!("Action=AddTagsToResource&ResourceName={arn}&{tag}"));
        assert_eq!(status, 200, "{text}");
    }

    /// What the restored database is called.
    pub(super) fn restored(&self) -> String {
        let listing = self.rds.listing();
        let restored = listing.iter().find(|line| line.starts_with("shop-new-")).unwrap();
        restored.split(' ').next().unwrap().to_owned()
    }

    /// What there is, without numbers that differ from run to run.
    pub(super) fn listing(&self) -> Vec<String> {
        let plain = |line: String| {
            let words = line.split(' ').map(|word| match word.rsplit_once('-') {
                Some((start, end)) if end.len() >= 8 && !word.contains("FAKE") => start.to_owned(),
                _ => word.to_owned(),
            });
            words.collect::<Vec<_>>().join(" ")
        };
        let mut listing: Vec<_> = self.rds.listing().into_iter().map(plain).collect();
        listing.sort();
        listing
    }
}

/// Says yes or no.
#[derive(Debug)]
pub(super) struct Answering(pub(super) bool);

#[async_trait::async_trait]
impl DatabaseCheck for Answering {
    async fn check(&self, _cx: &Context, restored: &Restored) -> Result<Vec<String>> {
        if self.0 {
            return Ok(vec![format!("{} answers", restored.endpoint)]);
        }
        Err(Error::new(ErrorKind::Unavailable, "check", "nobody answers"))
    }
}

pub(super) use ecolaura_deploy_core::{Context, Error, ErrorKind, Result};

pub(super) fn accepted() -> AcceptedLoss {
    AcceptedLoss::of_the_last(std::time::Duration::from_hours(1), "INC-7")
}

/// The way back to a few minutes ago; with `fails` something fails behind it.
pub(super) fn way_back(database: &RdsDatabase, fails: bool) -> Pipeline {
    let mut pipeline = Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap());
    let restored = pipeline.add("restore", RestoreDatabase::new(database), constant(RestorePoint::Latest));
    let verified = pipeline.add("verify", VerifyDatabase::new(database, Arc::new(Answering(true))), restored);
    let switched = pipeline.add("switch", SwitchDatabase::new(database, accepted()), verified);
    if fails {
        pipeline.step("fail", Command::new("false"), constant(())).after(&switched).add();
    }
    pipeline
}
