//! Takes a snapshot of a database of RDS, then goes back to it: restored beside the database, looked at, and switched to by
//! names. The old database stays under another name.
//!
//! `cargo run --features rds --example rds_snapshot` does it with a small RDS in this process, which takes its time as the
//! real one does. `… -- NAME` only takes the snapshot, of the instance NAME in the account that the environment names.

use std::{convert::Infallible, process::ExitCode, sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_aws::{
    Account, Connect,
    rds::{
        AcceptedLoss, DatabaseCheck, RdsDatabase, RestoreDatabase, RestorePoint, Restored, SnapshotDatabase,
        SwitchDatabase, VerifyDatabase, fake::FakeRds,
    },
};
use ecolaura_deploy_core::{
    Context, Error, Result, Secret,
    pipeline::{Pipeline, constant},
    store::ObjectRunStore,
};
use ecolaura_deploy_examples::{exit_code, place::block_on, plan_and_run, runner};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

fn main() -> ExitCode {
    block_on("rds_snapshot", example())
}

async fn example() -> Result<ExitCode> {
    let cx = Context::new("dev".parse()?);
    match std::env::args().nth(1) {
        Some(name) => snapshot(&cx, &name).await,
        None => there_and_back(&cx).await,
    }
}

/// Takes a snapshot in the account of the environment.
async fn snapshot(cx: &Context, name: &str) -> Result<ExitCode> {
    let database = RdsDatabase::instance(&Connect::new().connect(cx).await?, name);
    let mut pipeline = Pipeline::new("snapshot".parse()?, "dev".parse()?);
    pipeline.add("snapshot", SnapshotDatabase::new(&database), constant(()));
    run(cx, pipeline).await
}

/// Takes a snapshot of a database that is only here, and goes back to it.
#[expect(clippy::print_stdout, reason = "an example shows what it got")]
async fn there_and_back(cx: &Context) -> Result<ExitCode> {
    let rds = Arc::new(FakeRds::new().instance("shop"));
    let account = serve(cx, Arc::clone(&rds)).await?;
    let database = RdsDatabase::instance(&account, "shop").look_every(Duration::from_millis(50));

    let mut pipeline = Pipeline::new("restore".parse()?, "dev".parse()?);
    let snapshot = pipeline.add("snapshot", SnapshotDatabase::new(&database), constant(()));
    let point = snapshot.map(RestorePoint::from);
    let restored = pipeline.add("restore", RestoreDatabase::new(&database), point);
    let verified = pipeline.add("verify", VerifyDatabase::new(&database, Arc::new(Named)), restored);
    let accepted = AcceptedLoss::of_the_last(Duration::from_mins(10), "it is an example");
    pipeline.add("switch", SwitchDatabase::new(&database, accepted), verified);
    let code = run(cx, pipeline).await?;
    rds.listing().iter().for_each(|line| println!("{line}"));
    Ok(code)
}

async fn run(cx: &Context, pipeline: Pipeline) -> Result<ExitCode> {
    let runner = runner(Arc::new(ObjectRunStore::memory()));
    Ok(exit_code(&plan_and_run(cx, &runner, pipeline).await?.result))
}

/// Yours would log in and count.
#[derive(Debug)]
struct Named;

#[async_trait]
impl DatabaseCheck for Named {
    async fn check(&self, _cx: &Context, restored: &Restored) -> Result<Vec<String>> {
        Ok(vec![format!("{} has a name to be reached by", restored.endpoint)])
    }
}

/// An account whose calls go to `rds`.
async fn serve(cx: &Context, rds: Arc<FakeRds>) -> Result<Account> {
    let failed = |error| Error::io("example.serve", "127.0.0.1", error);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let rds = Arc::clone(&rds);
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                let rds = Arc::clone(&rds);
                async move {
                    let form = request
                        .into_body()
                        .collect()
                        .await
                        .map(http_body_util::Collected::to_bytes)
                        .unwrap_or_default();
                    let (status, text) = rds.answer(&String::from_utf8_lossy(&form));
                    let mut response = Response::new(Full::new(Bytes::from(text)));
                    *response.status_mut() = status.try_into().unwrap_or_default();
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answer));
        }
    });
    let connect = Connect::new().region("eu-central-1").endpoint(format!("http://{address}"));
    connect.keys("AKIAEXAMPLE", Secret::new("a-key-of-nobody".to_owned())).connect(cx).await
}
