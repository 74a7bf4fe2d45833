//! Secrets in manifests.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ecolaura_deploy_core::{
    Error, ErrorKind,
    analysis::scan::SeverityPolicy,
    backend::{ImageEntry, ImageSpec, Severity, Workload},
    pipeline::{Pipeline, constant},
    steps::{self, BuildImage, PushImage, Rollout, ScanGate},
    testing::simulation::Fakes,
    vocabulary::{Platform, Repository},
};

use super::{Sinks, TOKEN, pipeline};
use crate::families::{
    Cell,
    security::{Sprung, Yard, block, cx, trap},
};

pub(super) fn all() -> Vec<Cell> {
    let data = |token: &str| format!("data: {{token: {}}}", STANDARD.encode(token));
    let text = |token: &str| format!("stringData: {{token: {token:?}}}");
    vec![
        trap("canaries/manifest-data", move || rolled(data)),
        trap("canaries/manifest-string-data", move || rolled(text)),
        trap("canaries/manifest-malformed", || {
            broken(&[
                format!("data: {{token: \"{TOKEN}\"}}"),
                format!("stringData: {{token: [\"{TOKEN}\"]}}"),
                format!("stringData: {{token: {{a: \"{TOKEN}\"}}}}"),
                format!("stringData: \"{TOKEN}\""),
                format!("stringData: {{token: \"{TOKEN}\", token: \"{TOKEN}\"}}"),
                format!("stringData: {{token: \"{TOKEN}\"\n  other: ]"),
            ])
        }),
    ]
}

fn manifest(secret: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Secret
metadata: {{name: web}}
{secret}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: web
          image: team/web
          ports: [{{containerPort: 80}}]
          env: [{{name: TOKEN, valueFrom: {{secretKeyRef: {{name: web, key: token}}}}}}]
"
    )
}

/// A roll-out of what is inside, and a step after it that shows the secret and fails, so that all of it is undone.
fn release(yard: &Yard, fakes: &Fakes, fails: bool) -> Pipeline {
    let mut pipeline = pipeline();
    let spec = ImageSpec::new(Platform::new("linux", "amd64"))
        .layer([ImageEntry::new(yard.inside().join("index.html"), "/program")])
        .entrypoint(["/program"]);
    let repository: Repository = "team/web".parse().unwrap();
    let built = pipeline.add("build", BuildImage::new(Arc::clone(&fakes.builder) as _, "web"), constant(spec));
    let pushed = pipeline.add("push", PushImage::new(Arc::clone(&fakes.registry) as _, repository), built);
    let scan = ScanGate::new(Arc::clone(&fakes.scanner), SeverityPolicy::new(Severity::High));
    let admitted = pipeline.add("scan", scan, pushed);
    let workload = Workload::new("dev".parse().unwrap(), [yard.inside().join("web.yaml")]);
    let images = vec![(constant("team/web".to_owned()), admitted)];
    let rolled = pipeline.add("rollout", Rollout::new(Arc::clone(&fakes.cluster) as _, workload), images);
    if fails {
        let shows = steps::call("show", |cx, ()| async move {
            cx.status(format!("the pod has {TOKEN}"));
            Err::<bool, _>(Error::new(ErrorKind::Conflict, "test.show", format!("the pod has {TOKEN}")))
        });
        pipeline.step("show", shows, constant(())).after(&rolled).add();
    }
    pipeline
}

/// Two releases with different secrets, the second of which is undone.
fn rolled(secret: impl Fn(&str) -> String) -> Sprung {
    const OLD: &str = "canary-of-the-release-before";
    let yard = Yard::new();
    let mut sinks = Sinks::new();
    let (fakes, cx) = (Fakes::new(), cx());
    block(async {
        for (token, fails) in [(OLD, false), (TOKEN, true)] {
            yard.put("web.yaml", &manifest(&secret(token)));
            sinks.run(&cx, release(&yard, &fakes, fails)).await;
        }
        sinks.look(&cx).await;
    });
    let ended = sinks.texts.iter().filter(|(place, _)| *place == "a result");
    let ended: Vec<&str> = ended.map(|(_, text)| text.as_str()).collect();
    if !matches!(ended.as_slice(), [one, two] if one.contains("Succeeded") && two.contains("RolledBack")) {
        return Err(format!("the releases did not go as they should: {ended:?}"));
    }
    sinks.judge(&[OLD.to_owned(), TOKEN.to_owned()])
}

/// Secrets that are not what they should be.
fn broken(secrets: &[String]) -> Sprung {
    for secret in secrets {
        let yard = Yard::new();
        let mut sinks = Sinks::new();
        yard.put("web.yaml", &manifest(secret));
        block(sinks.run(&cx(), release(&yard, &Fakes::new(), false)));
        let told: Vec<&String> =
            sinks.texts.iter().map(|(_, text)| text).filter(|text| text.contains("web.yaml")).collect();
        if told.is_empty() || told.iter().any(|text| text.contains(TOKEN)) {
            return Err(format!("of {secret:?}: {told:?}"));
        }
    }
    Ok(())
}
