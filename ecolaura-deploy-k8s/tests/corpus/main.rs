//! The corpus: what the objects of a cluster say, and what is true of them then. One case a file below `cases`, each
//! with the verdict that is expected of both modes; `recorded-…` are of a real cluster, the others are what users of
//! other tools ran into (`T…` by the list of such failures that this project keeps), and the rules of `kstatus`.
//!
//! `ECOLAURA_RECORD=1 .ci/with-servers cargo test -p ecolaura-deploy-k8s --test cluster corpus` records anew.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod case;

use std::{collections::BTreeMap, fs, path::Path};

use ecolaura_deploy_k8s::verdict::Mode;

use self::case::{Case, Expected};

fn cases() -> BTreeMap<String, Result<Case, String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(case::FOLDER);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), Case::read(&path))).collect()
}

#[test]
fn every_case_is_judged_as_expected() {
    let cases = cases();
    let mut wrong = Vec::new();
    for (name, case) in &cases {
        match case {
            Ok(case) => wrong.extend(case.wrong().iter().map(|line| format!("{name}: {line}"))),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn word(expected: &Expected) -> &'static str {
    match expected {
        Expected::Ready => "ready",
        Expected::Progressing { .. } => "progressing",
        Expected::Failed { .. } => "failed",
        Expected::Unknown { .. } => "unknown",
    }
}

/// A corpus that says little would prove little: each kind has cases, and both modes see each verdict.
#[test]
fn the_corpus_covers_every_kind_and_verdict() {
    let cases: Vec<Case> = cases().into_values().filter_map(Result::ok).collect();
    for kind in [
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "Pod",
        "Job",
        "CronJob",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "Ingress",
        "HorizontalPodAutoscaler",
        "CustomResourceDefinition",
        "APIService",
        "Namespace",
        "Gateway",
        "HTTPRoute",
    ] {
        assert!(cases.iter().any(|case| case.object["kind"] == kind), "no case of {kind}");
    }
    for mode in [Mode::Strict, Mode::Kstatus] {
        for verdict in ["progressing", "ready", "failed", "unknown"] {
            assert!(cases.iter().any(|case| word(case.expected(mode)) == verdict), "no case {verdict} in {mode:?}");
        }
    }
}
