//! Family E of the fault matrix: what befalls a push, case by case.
//!
//! A case survives if the image is there in the end, whole and without help; it is contained if an error names the cause
//! with what was found and what was wanted, and nothing wrong is in the registry. It fails otherwise, and if the next image
//! cannot be pushed.

use std::collections::BTreeMap;

use ecolaura_deploy_core::{ErrorKind, backend::Registry as _, vocabulary::Digest};
use hyper::Method;
use serde_json::json;

use super::{
    clock, cx,
    images::image,
    login::{LOGIN, deploy, fake},
    logins::Logins,
    registry, repository,
    server::{Act, FakeRegistry},
    tags::{as_ecr, change, two},
};

/// Of the layer.
const SIZE: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone, Copy)]
enum Case {
    /// The connection breaks after so many bytes of the layer.
    Dies(usize),
    /// The token ends with the first blob.
    Unauthorized,
    /// The registry wants the blob to go on elsewhere.
    Range,
    /// The tag is there, and may not be set.
    Immutable { same: bool },
    /// The registry names another digest than it was sent.
    Mismatch,
}

const CASES: [(&str, Case); 10] = [
    ("dies/before the first byte", Case::Dies(0)),
    ("dies/after the first byte", Case::Dies(1)),
    ("dies/after a quarter", Case::Dies(SIZE / 4)),
    ("dies/after a half", Case::Dies(SIZE / 2)),
    ("dies/at the last byte", Case::Dies(SIZE)),
    ("401 in the middle", Case::Unauthorized),
    ("416", Case::Range),
    ("immutable tag/same digest", Case::Immutable { same: true }),
    ("immutable tag/other digest", Case::Immutable { same: false }),
    ("digest mismatch", Case::Mismatch),
];

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Survived,
    Contained,
    Failed(String),
}

fn layer() -> Vec<u8> {
    (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// A push of the layer.
async fn pushed(server: &FakeRegistry, expected: Verdict) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    let layer = layer();
    let image = image(&dir.path().join("image"), &layer);
    let registry = registry(server).credentials(deploy());
    match registry.push(&cx(), &image, &repository()).await {
        Ok(pinned) if pinned.digest != image.digest => Verdict::Failed(format!("{pinned:?}")),
        Ok(_) if !server.holds_manifest(image.digest) || !server.holds_blob(&layer) => {
            Verdict::Failed("the image is not whole".to_owned())
        }
        Ok(_) => Verdict::Survived,
        Err(_) if server.holds_manifest(image.digest) => Verdict::Failed("it is there all the same".to_owned()),
        Err(error) => {
            let named = error.kind() == ErrorKind::Corrupt
                && error.report().contains(&Digest::of("something else").to_string())
                && expected == Verdict::Contained;
            if named { Verdict::Contained } else { Verdict::Failed(error.report()) }
        }
    }
}

async fn tagged(same: bool) -> (FakeRegistry, Verdict) {
    let server = FakeRegistry::start().await;
    let registry = registry(&server);
    let (first, second) = two(&registry).await;
    server.state().immutable = Some(as_ecr());
    let wanted = if same { first } else { second };
    let verdict = match registry.set_tag(&cx(), &change(Some(wanted))).await {
        Ok(_) if same => Verdict::Survived,
        Ok(_) => Verdict::Failed("the tag moved".to_owned()),
        Err(error) => {
            let named = [first, second].iter().all(|digest| error.report().contains(&digest.to_string()));
            let contained = !same && named && error.kind() == ErrorKind::AlreadyExists;
            if contained { Verdict::Contained } else { Verdict::Failed(error.report()) }
        }
    };
    server.state().immutable = None;
    (server, verdict)
}

async fn judge(case: Case) -> Verdict {
    let (server, verdict) = match case {
        Case::Immutable { same } => tagged(same).await,
        _ => {
            let server = fake(Logins::bearer(Some(LOGIN))).await;
            let hex = Digest::of(layer()).to_hex();
            let (act, times) = match case {
                Case::Dies(bytes) => (Act::ResetAfter(bytes), 1),
                Case::Unauthorized => (Act::ForgetTokens, 1),
                Case::Range => {
                    let message = "First byte of the layer part is 0 instead of 1024";
                    let body = json!({"errors": [{"code": "BLOB_UPLOAD_INVALID", "message": message}]}).to_string();
                    (Act::Answer { status: 416, retry_after: None, body }, 1)
                }
                _ => (Act::Misname, 99),
            };
            server.fault(Method::PUT, &hex, times, act);
            let expected = match case {
                Case::Mismatch => {
                    // What it stored in truth is there at the next look, so that look fails too.
                    let gone = Act::Answer { status: 404, retry_after: None, body: String::new() };
                    server.fault(Method::HEAD, "/blobs/", 99, gone);
                    Verdict::Contained
                }
                _ => Verdict::Survived,
            };
            let verdict = match pushed(&server, expected).await {
                Verdict::Survived if server.count("PUT", &hex) < 2 => Verdict::Failed("nothing went wrong".to_owned()),
                verdict => verdict,
            };
            (server, verdict)
        }
    };
    server.heal();
    let dir = tempfile::tempdir().unwrap();
    let next = image(dir.path(), b"the next");
    match registry(&server).credentials(deploy()).push(&cx(), &next, &repository()).await {
        Ok(_) => verdict,
        Err(error) => Verdict::Failed(format!("the next image is refused: {}", error.report())),
    }
}

#[tokio::test]
async fn fake_that_fails_a_push_in_ten_ways_gets_the_image_or_is_named() {
    clock::stand_still_while_waiting();
    let mut verdicts = BTreeMap::new();
    for (name, case) in CASES {
        verdicts.insert(name, judge(case).await);
    }
    let count = |wanted: &Verdict| verdicts.values().filter(|verdict| *verdict == wanted).count();
    let (survived, contained) = (count(&Verdict::Survived), count(&Verdict::Contained));
    println!("family | cases | survived | contained | failed");
    println!("E      | {:5} | {survived:8} | {contained:9} | {:6}", CASES.len(), CASES.len() - survived - contained);
    assert_eq!((survived, contained), (8, 2), "{verdicts:?}");
    for contained in ["immutable tag/other digest", "digest mismatch"] {
        assert_eq!(verdicts[contained], Verdict::Contained, "{contained}");
    }
}
