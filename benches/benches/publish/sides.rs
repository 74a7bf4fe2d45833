//! Those who publish, and where to.

use std::{
    env,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ecolaura_deploy_aws::{Account, Connect, S3Cdn};
use ecolaura_deploy_core::{
    Context, Secret,
    cdn::{PublishOptions, SiteSource, publish},
};
use tokio::{process::Command, time::Instant};

use crate::table::OURS;

/// The argument by which this program publishes, and does nothing else.
pub(crate) const PUBLISHER: &str = "publish-to";
const KEY: &str = "ecolaura";
const SECRET: &str = "a-key-for-tests";
const REGION: &str = "eu-central-1";
/// How often the memory of a program is looked at.
const LOOK: Duration = Duration::from_millis(10);

fn cx() -> Context {
    Context::new("bench".parse().unwrap())
}

async fn account(endpoint: &str) -> Account {
    let connect = Connect::new().region(REGION).endpoint(endpoint).path_style();
    connect.keys(KEY, Secret::new(SECRET.to_owned())).connect(&cx()).await.unwrap()
}

/// Publishes `folder` to `bucket`.
pub(crate) async fn publish_here(endpoint: &str, bucket: &str, folder: &Path) {
    let cdn = S3Cdn::new("web".parse().unwrap(), account(endpoint).await, bucket).prefix("site");
    let site = SiteSource::new(folder).prepare(&cx()).await.unwrap();
    publish(&cx(), &cdn, &site, &PublishOptions::default()).await.unwrap();
}

/// A server that speaks S3.
#[derive(Debug)]
pub(crate) struct Server(String);

impl Server {
    pub(crate) fn find() -> Option<Self> {
        env::var("ECOLAURA_TEST_S3").ok().filter(|value| !value.is_empty()).map(Self)
    }

    /// A new bucket.
    pub(crate) async fn bucket(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let account = account(&self.0).await;
        let config = aws_sdk_s3::config::Builder::from(account.sdk_config()).force_path_style(true).build();
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
        let request = aws_sdk_s3::Client::from_conf(config).create_bucket().bucket(&name);
        request.create_bucket_configuration(place).send().await.unwrap();
        name
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
    pub(crate) fn all() -> [Self; 3] {
        [Self::Ours, Self::S5cmd, Self::Rclone]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => OURS,
            Self::S5cmd => "s5cmd",
            Self::Rclone => "rclone",
        }
    }

    pub(crate) fn of(name: &str) -> Self {
        Self::all().into_iter().find(|side| side.name() == name).unwrap_or(Self::Ours)
    }

    pub(crate) fn is_there(self) -> bool {
        let path = env::var_os("PATH").unwrap_or_default();
        self == Self::Ours || env::split_paths(&path).any(|folder| folder.join(self.name()).is_file())
    }

    /// By sizes and times the peers decide what they send; ours reads every file.
    fn command(self, Server(endpoint): &Server, bucket: &str, folder: &Path) -> Command {
        let folder = folder.display();
        let mut command = match self {
            Self::Ours => Command::new(env::current_exe().unwrap()),
            _ => Command::new(self.name()),
        };
        let place = format!("s3://{bucket}/site/");
        match self {
            Self::Ours => command.args([PUBLISHER, endpoint, bucket, &folder.to_string()]),
            Self::S5cmd => command.args(["--endpoint-url", endpoint, "sync", &format!("{folder}/"), &place]),
            Self::Rclone => command.args(["sync", "--checkers", "32", "--transfers", "32"]).args([
                folder.to_string(),
                format!(":s3,provider=Other,env_auth=true,force_path_style=true,region={REGION},endpoint='{endpoint}':{bucket}/site"),
            ]),
        };
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET).env("AWS_REGION", REGION);
        // It makes rclone refuse every server.
        command.env_remove("AWS_CA_BUNDLE").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run(self, server: &Server, bucket: &str, folder: &Path) -> Took {
        let began = Instant::now();
        let child = self.command(server, bucket, folder).spawn().unwrap();
        let process = child.id().unwrap();
        let mut output = Box::pin(child.wait_with_output());
        let mut peak = 0.0;
        loop {
            peak = memory(process).unwrap_or(peak);
            if let Ok(output) = tokio::time::timeout(LOOK, output.as_mut()).await {
                let (seconds, output) = (began.elapsed().as_secs_f64(), output.unwrap());
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{} failed: {said}", self.name());
                return Took { seconds, peak };
            }
        }
    }
}

fn memory(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
