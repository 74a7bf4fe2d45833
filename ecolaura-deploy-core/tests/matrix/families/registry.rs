//! E: what befalls a push to a registry.
//!
//! The image is there in the end, whole and without help; or an operator is told what was found and what was wanted, and
//! nothing wrong is in the registry. The next image can be pushed, and nobody reads a secret.
#![expect(clippy::unwrap_used, reason = "files of a temporary folder, and a server on this machine")]

#[path = "../../oci/clock.rs"]
mod clock;
#[path = "../../oci/images.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod images;
#[path = "../../oci/logins.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod logins;
#[path = "../../oci/server.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod server;
#[path = "../../oci/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::collections::BTreeMap;

use ecolaura_deploy_core::{Error, ErrorKind, backend::Registry as _, testing::invariants, vocabulary::Digest};
use hyper::Method;
use serde_json::json;

use self::{
    images::image,
    logins::{LOGIN, Logins, PASSWORD, deploy, fake},
    server::{Act, FakeRegistry},
    support::{as_ecr, change, cx, registry, repository, two},
};
use super::{Cell, Scene, Verdict};

/// Of the layer.
const SIZE: usize = 4 * 1024 * 1024;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Mishap {
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

const CASES: [(&str, Mishap); 10] = [
    ("dies/before-the-first-byte", Mishap::Dies(0)),
    ("dies/after-the-first-byte", Mishap::Dies(1)),
    ("dies/after-a-quarter", Mishap::Dies(SIZE / 4)),
    ("dies/after-a-half", Mishap::Dies(SIZE / 2)),
    ("dies/at-the-last-byte", Mishap::Dies(SIZE)),
    ("401-in-the-middle", Mishap::Unauthorized),
    ("416", Mishap::Range),
    ("immutable-tag/same-digest", Mishap::Immutable { same: true }),
    ("immutable-tag/other-digest", Mishap::Immutable { same: false }),
    ("digest-mismatch", Mishap::Mismatch),
];

pub(super) fn all() -> Vec<Cell> {
    let scene = |(name, mishap)| Cell::Scene(Scene::new("E", name, move || alone(mishap)));
    CASES.into_iter().map(scene).collect()
}

/// On a thread of its own: the clock that stands still belongs to one.
fn alone(mishap: Mishap) -> Verdict {
    let played = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(mishap))
    });
    played.join().unwrap_or_else(|_| Verdict::Failed(vec!["I4: it panicked".to_owned()]))
}

async fn play(mishap: Mishap) -> Verdict {
    clock::stand_still_while_waiting();
    match mishap {
        Mishap::Immutable { same } => tagged(same).await,
        Mishap::Dies(bytes) => pushed(Act::ResetAfter(bytes)).await,
        Mishap::Unauthorized => pushed(Act::ForgetTokens).await,
        Mishap::Range => {
            let message = "First byte of the layer part is 0 instead of 1024";
            let body = json!({"errors": [{"code": "BLOB_UPLOAD_INVALID", "message": message}]}).to_string();
            pushed(Act::Answer { status: 416, retry_after: None, body }).await
        }
        Mishap::Mismatch => pushed(Act::Misname).await,
    }
}

fn layer() -> Vec<u8> {
    (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// An image that does not come, because the layer meets `act`.
async fn pushed(act: Act) -> Verdict {
    let (server, dir, layer) = (fake(Logins::bearer(Some(LOGIN))).await, tempfile::tempdir().unwrap(), layer());
    let (hex, misnamed) = (Digest::of(&layer).to_hex(), matches!(act, Act::Misname));
    server.fault(Method::PUT, &hex, if misnamed { 99 } else { 1 }, act);
    if misnamed {
        // What it stored in truth is there at the next look, so that look fails too.
        let gone = Act::Answer { status: 404, retry_after: None, body: String::new() };
        server.fault(Method::HEAD, "/blobs/", 99, gone);
    }
    let image = image(dir.path(), &layer);
    let result = registry(&server).credentials(deploy()).push(&cx(), &image, &repository()).await;
    let mut broken = Vec::new();
    if server.count("PUT", &hex) < 2 {
        broken.push("nothing went wrong".to_owned());
    }
    let whole = |is: bool| if is { "there" } else { "nothing" }.to_owned();
    let found = [("its manifest", server.holds_manifest(image.digest)), ("its layer", server.holds_blob(&layer))];
    let mut found: BTreeMap<_, _> = found.map(|(name, is)| (name.to_owned(), whole(is))).into();
    let asked = match result {
        Ok(pinned) => {
            found.insert("its digest".into(), pinned.digest.to_string());
            let wanted =
                [("its manifest", whole(true)), ("its layer", whole(true)), ("its digest", image.digest.to_string())];
            let wanted = wanted.map(|(name, what)| (name.to_owned(), what)).into();
            broken.extend(invariants::state("the image", &wanted, &found));
            None
        }
        Err(error) => {
            // A layer that nothing names does no harm.
            found.remove("its layer");
            let wanted = [("its manifest".to_owned(), whole(false))].into();
            broken.extend(invariants::state("a registry that refused", &wanted, &found));
            Some((error, ErrorKind::Corrupt))
        }
    };
    let told = if misnamed { vec![Digest::of("something else").to_string()] } else { Vec::new() };
    over(&server, broken, asked, &told).await
}

/// A tag that is set to the digest that it has, or to another one.
async fn tagged(same: bool) -> Verdict {
    let server = fake(Logins::bearer(Some(LOGIN))).await;
    let registry = registry(&server).credentials(deploy());
    let (first, second) = two(&registry).await;
    server.state().immutable = Some(as_ecr());
    let result = registry.set_tag(&cx(), &change(Some(if same { first } else { second }))).await;
    server.state().immutable = None;
    let at: Vec<String> = server.state().tags.values().cloned().collect();
    let mut broken = Vec::new();
    if at != [first.to_string()] {
        broken.push(format!("I7: the tag is at {at:?}, it was at {first}"));
    }
    let asked = result.err().map(|error| (error, ErrorKind::AlreadyExists));
    let told = if same { Vec::new() } else { [first, second].map(|digest| digest.to_string()).into() };
    over(&server, broken, asked, &told).await
}

/// What must hold whatever befell: I5 and I9. `asked` is the error with the kind that it should have.
async fn over(
    server: &FakeRegistry,
    mut broken: Vec<String>,
    asked: Option<(Error, ErrorKind)>,
    told: &[String],
) -> Verdict {
    server.heal();
    let dir = tempfile::tempdir().unwrap();
    let next = registry(server).credentials(deploy()).push(&cx(), &image(dir.path(), b"the next"), &repository()).await;
    broken.extend(next.err().map(|error| format!("I5: the next image is refused: {}", error.report())));
    let mut sinks = vec![("a request", server.state().log.join("\n"))];
    let asked = asked.map(|(error, kind)| {
        sinks.push(("an error", format!("{error:?} {}", error.report())));
        if error.kind() != kind {
            broken.push(format!("I4: it is told as {:?}, not as {kind:?}", error.kind()));
        }
        error.report()
    });
    broken.extend(invariants::no_secrets(&[PASSWORD, LOGIN], sinks));
    Verdict::of(broken, asked).telling(&told.iter().map(String::as_str).collect::<Vec<_>>())
}
