//! The runs as Kubernetes Jobs of this program: what starts them, and what happens inside of one.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use ecolaura_deploy_core::{
    Admitted, Context, Error, ErrorKind, Result,
    backend::{ApplyRequest, Placement},
    event::{Event, EventKind, EventSink, FanOut, FnSink},
    report::json::JsonLines,
    vocabulary::PinnedImage,
};
use ecolaura_deploy_examples::{exit_code, place, place::There, plan_and_run, tiny::Sandbox};
use ecolaura_deploy_k8s::{
    KubernetesCluster,
    access::{Needs, Subject},
    fleet::{Fleet, Member},
};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{ENVIRONMENTS, looked, pipeline, runner, service, told};

/// The account that the Jobs run as.
const ACCOUNT: &str = "deployer";

/// Where the pods have the records.
const RECORDS: &str = "/records";

/// What a member is told.
#[derive(Debug, Parser)]
struct Told {
    /// The environment that it releases to
    #[arg(long)]
    member: String,

    #[arg(long)]
    image: PinnedImage,

    #[arg(long)]
    registry: String,

    /// Ends as a lost pod does, once in the middle of its run
    #[arg(long)]
    lose: bool,
}

/// Starts a Job for each environment and waits for all.
pub(crate) async fn release(cx: &Context, sandbox: &Sandbox, there: &There, lose: Option<&str>) -> Result<ExitCode> {
    let mut members = Vec::new();
    let mut needs = Needs::default();
    let cluster = KubernetesCluster::new("cluster".parse()?, there.connection.clone()).registry(&there.registry);
    let mut program = None;
    for environment in ENVIRONMENTS {
        let service = service(environment);
        let image = sandbox.image(cx, &service, "release 1").await?;
        let workload = sandbox.workload(&[&service])?.image(format!("tiny/{service}"), image.clone());
        needs.extend(cluster.needs(cx, &ApplyRequest::new(workload, Placement::Replace)).await?);
        let mut member = Member::new(environment.parse()?).args([
            "--member",
            environment,
            "--registry",
            &there.registry,
            "--image",
            &image.to_string(),
        ]);
        if lose == Some(environment) {
            member = member.args(["--lose"]);
        }
        members.push(member);
        program = Some(image);
    }
    let Some(program) = program else { return Ok(ExitCode::SUCCESS) };
    allow(there, sandbox.namespace.as_str(), &needs).await?;
    // Each call releases anew: what an earlier one left running has the locks, and is waited for.
    let key = format!("{} at {}", program.digest, cx.clock().now());
    place::say(&format!("starting a Job for each of {} in namespace {}", ENVIRONMENTS.join(", "), sandbox.namespace));
    let fleet = Fleet::new(there.connection.clone(), sandbox.namespace.clone(), pod(there, &program)).events(told());
    let report = fleet.run(cx, &key, &members).await?;
    place::say(&report.to_string());
    if !report.succeeded() {
        return Ok(ExitCode::FAILURE);
    }
    looked(sandbox, cx).await?;
    Ok(ExitCode::SUCCESS)
}

/// The pod of a member: this program, with the folder of the records, as the user who made that.
fn pod(there: &There, program: &PinnedImage) -> Value {
    json!({
        "serviceAccountName": ACCOUNT,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {"runAsUser": rustix::process::getuid().as_raw()},
        "containers": [{
            "name": "fleet", "image": format!("{}/{program}", there.registry), "workingDir": RECORDS,
            "volumeMounts": [{"name": "records", "mountPath": RECORDS}],
        }],
        "volumes": [{"name": "records", "hostPath": {"path": there.records, "type": "Directory"}}],
    })
}

/// Gives the account of the Jobs the rights that they need, and no others.
async fn allow(there: &There, namespace: &str, needs: &Needs) -> Result<()> {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}});
    let rules = needs.rules(ACCOUNT, &Subject::service_account(namespace, ACCOUNT));
    for json in std::iter::once(account).chain(rules.objects()) {
        let object: DynamicObject = serde_json::from_value(json)
            .map_err(|error| Error::internal("example.rules", "no object").with_source(error))?;
        let Some(types) = object.types.clone() else { continue };
        let kind = GroupVersionKind::try_from(&types)
            .map_err(|error| Error::internal("example.rules", "no kind").with_source(error))?;
        let api =
            Api::<DynamicObject>::namespaced_with(there.connection.client(), namespace, &ApiResource::from_gvk(&kind));
        let name = object.metadata.name.clone().unwrap_or_default();
        let params = PatchParams::apply("ecolaura-deploy-examples").force();
        api.patch(&name, &params, &Patch::Apply(&object)).await.map_err(|error| {
            Error::new(ErrorKind::PermissionDenied, "example.rules", format!("could not make {} {name}", types.kind))
                .with_source(error)
        })?;
    }
    Ok(())
}

/// Releases to one environment, if this process was started as a member of the fleet.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    if !std::env::args().any(|argument| argument == "--member") {
        return None;
    }
    let told = Told::parse();
    Some(place::block_on("fleet", member(told)))
}

async fn member(told: Told) -> Result<ExitCode> {
    let cx = Context::new(told.member.parse()?);
    let records = Path::new(RECORDS);
    let sandbox = place::within(&cx, "fleet", &told.registry, records).await?;
    let image = Admitted::by_gate("an example", told.image);
    let events: Arc<dyn EventSink> = Arc::new(JsonLines::new(io::stdout()));
    let events = if told.lose { lost_once(records.to_owned(), events) } else { events };
    let pipeline = pipeline(&sandbox, &told.member, image)?;
    let finished = plan_and_run(&cx, &runner(&sandbox, events), pipeline).await?;
    Ok(exit_code(&finished.result))
}

/// `events`, and the end of the process as soon as the services are being rolled out, unless a mark in the folder `marks`
/// says that this run was lost before.
fn lost_once(marks: PathBuf, events: Arc<dyn EventSink>) -> Arc<dyn EventSink> {
    let last = Arc::clone(&events);
    let lose = FnSink::new(move |event: &Event| {
        let begins = matches!(event.kind, EventKind::StepStarted) && event.step.as_deref() == Some("roll out");
        let mark = marks.join(format!("lost-{}", event.run));
        if begins && !mark.exists() && std::fs::write(&mark, "").is_ok() {
            let mut event = event.clone();
            let message = "this pod is lost; another goes on once the lock has heard nothing for ten seconds";
            event.kind = EventKind::Status { message: message.to_owned() };
            last.emit(&event);
            std::process::abort();
        }
    });
    Arc::new(FanOut::new([events, Arc::new(lose)]))
}
