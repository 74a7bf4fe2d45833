//! Those who publish, and where to.

use std::{
    env,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use aws_sdk_s3::{
    Client,
    types::{BucketLocationConstraint, CreateBucketConfiguration, Delete, ObjectIdentifier},
};
use ecolaura_deploy_aws::{Account, Connect, S3Cdn};
use ecolaura_deploy_benches::{
    programs::{on_path, start_as},
    table::OURS,
};
use ecolaura_deploy_core::{
    Context, Secret,
    cdn::{PublishOptions, SiteSource, publish},
};
use tokio::{process::Command, time::Instant};

use super::away::relay;

/// The argument by which this program publishes, and does nothing else.
pub(crate) const PUBLISHER: &str = "publish-to";
const KEY: &str = "ecolaura";
const SECRET: &str = "a-key-for-tests";
const REGION: &str = "eu-central-1";

fn cx() -> Context {
    Context::new("bench".parse().unwrap())
}

async fn account(endpoint: &str) -> Account {
    let connect = Connect::new().region(REGION).endpoint(endpoint).path_style();
    connect.keys(KEY, Secret::new(SECRET.to_owned())).connect(&cx()).await.unwrap()
}

/// Publishes `folder` to `bucket`, and remembers digests in `memory`.
pub(crate) async fn publish_here(endpoint: &str, bucket: &str, folder: &Path, memory: &Path) {
    let cdn = S3Cdn::new("web".parse().unwrap(), account(endpoint).await, bucket).prefix("site");
    let site = SiteSource::new(folder).remember(memory).prepare(&cx()).await.unwrap();
    publish(&cx(), &cdn, &site, &PublishOptions::default()).await.unwrap();
}

/// A server that speaks S3.
#[derive(Debug)]
pub(crate) struct Server {
    endpoint: String,
    /// How long the way there and back takes.
    trip: Duration,
}

impl Server {
    pub(crate) fn find() -> Result<Self, String> {
        let endpoint = env::var("ECOLAURA_TEST_S3").ok().filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.map(|endpoint| Self { endpoint, trip: Duration::ZERO });
        endpoint.ok_or_else(|| {
            "no server: ECOLAURA_TEST_S3 is not set; run this by `.ci/with-servers --no-node --peers`".to_owned()
        })
    }

    /// The same, so far away.
    pub(crate) async fn far(self, trip: Duration) -> Self {
        let address = self.endpoint.trim_start_matches("http://").to_owned();
        Self { endpoint: format!("http://{}", relay(address, trip).await), trip }
    }

    /// How far away it is, in words.
    pub(crate) fn place(&self) -> String {
        if self.trip.is_zero() { String::new() } else { format!(", {} ms away", self.trip.as_millis()) }
    }

    async fn client(&self) -> Client {
        let account = account(&self.endpoint).await;
        let config = aws_sdk_s3::config::Builder::from(account.sdk_config()).force_path_style(true);
        Client::from_conf(config.build())
    }

    /// A new bucket.
    pub(crate) async fn bucket(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(REGION));
        let request = self.client().await.create_bucket().bucket(&name);
        request.create_bucket_configuration(place.build()).send().await.unwrap();
        name
    }

    /// Removes all that is in `bucket`.
    pub(crate) async fn empty(&self, bucket: &str) {
        let client = self.client().await;
        loop {
            let page = client.list_objects_v2().bucket(bucket).send().await.unwrap();
            let keys = page.contents().iter().map(|object| object.key().unwrap());
            let keys: Vec<_> = keys.map(|key| ObjectIdentifier::builder().key(key).build().unwrap()).collect();
            if keys.is_empty() {
                return;
            }
            let keys = Delete::builder().set_objects(Some(keys)).build().unwrap();
            client.delete_objects().bucket(bucket).delete(keys).send().await.unwrap();
        }
    }
}

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    S5cmd,
    Rclone,
}

/// How long it took, in seconds, and the most memory that it had, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) seconds: f64,
    pub(crate) peak: f64,
}

impl Side {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::S5cmd, Self::Rclone];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => OURS,
            Self::S5cmd => "s5cmd",
            Self::Rclone => "rclone",
        }
    }

    pub(crate) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|side| side.name() == name).unwrap()
    }

    pub(crate) fn is_there(self) -> bool {
        self == Self::Ours || on_path(self.name()).is_some()
    }

    /// s5cmd decides by sizes and times what it sends; rclone reads every file, as ours does.
    fn command(self, Server { endpoint, .. }: &Server, bucket: &str, folder: &Path) -> Command {
        // Beside the folder, which goes away with the bench.
        let memory = folder.with_file_name(format!("{bucket}.json"));
        let folder = folder.to_str().unwrap();
        let own = env::current_exe().unwrap();
        let mut command = Command::new(on_path(self.name()).unwrap_or(own));
        match self {
            Self::Ours => command.args([PUBLISHER, endpoint, bucket, folder]).arg(memory),
            Self::S5cmd => {
                let (from, to) = (format!("{folder}/"), format!("s3://{bucket}/site/"));
                command.args(["--log", "error", "--endpoint-url", endpoint, "sync", &from, &to])
            }
            Self::Rclone => {
                let how = "provider=Other,env_auth=true,force_path_style=true,no_check_bucket=true";
                let to = format!(":s3,{how},region={REGION},endpoint='{endpoint}':{bucket}/site");
                let many = ["--checkers", "32", "--transfers", "32", "--fast-list"];
                command.args(["sync", "--checksum"]).args(many).args([folder, &to])
            }
        };
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET).env("AWS_REGION", REGION);
        // With it rclone refuses every server.
        command.env_remove("AWS_CA_BUNDLE");
        command
    }

    pub(crate) async fn run(self, server: &Server, bucket: &str, folder: &Path) -> Took {
        let command = self.command(server, bucket, folder);
        let began = Instant::now();
        let ended = start_as(command).end_with_memory().await.checked();
        Took { seconds: (ended.at - began).as_secs_f64(), peak: ended.peak }
    }
}
