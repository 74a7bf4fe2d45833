//! `CloudFront` as AWS documents it: one invalidation for each reference, in progress for a while, a bound on those.

use std::collections::BTreeMap;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{Asked, refusal, response, unescaped};

#[derive(Debug, Clone)]
pub(crate) struct Invalidated {
    pub(crate) reference: String,
    pub(crate) paths: Vec<String>,
    /// How often it is still asked for before it is done.
    pub(crate) left: u32,
}

#[derive(Debug)]
pub(crate) struct FakeCloudFront {
    pub(crate) invalidations: BTreeMap<String, Invalidated>,
    /// How many paths of files may be in progress.
    pub(crate) files: usize,
    /// How many with a wildcard may be, beside them.
    pub(crate) wildcards: usize,
    /// How many questions each takes.
    pub(crate) lasts: u32,
    /// Whether every reference was used for other paths.
    pub(crate) answers_reused: bool,
}

impl Default for FakeCloudFront {
    fn default() -> Self {
        Self { invalidations: BTreeMap::new(), files: 3000, wildcards: 15, lasts: 0, answers_reused: false }
    }
}

impl FakeCloudFront {
    /// Somebody else's.
    #[cfg(feature = "cloudfront")]
    pub(crate) fn plant(&mut self, reference: &str, paths: Vec<String>, left: u32) {
        let known = Invalidated { reference: reference.to_owned(), paths, left };
        self.invalidations.insert(format!("I{}", self.invalidations.len() + 1), known);
    }

    pub(super) fn answer(&mut self, asked: &Asked) -> HttpResponse {
        match (asked.method.as_str(), asked.key.rsplit_once("invalidation/")) {
            ("POST", None) => self.create(&String::from_utf8_lossy(&asked.body)),
            ("GET", Some((_, id))) => self.get(id),
            _ => refusal(404, "NoSuchDistribution"),
        }
    }

    fn create(&mut self, body: &str) -> HttpResponse {
        let between = |start: &str, end: &str| -> Vec<String> {
            let rests = body.split(start).skip(1).filter_map(|rest| rest.split(end).next());
            rests.map(unescaped).collect()
        };
        let reference = between("<CallerReference>", "</CallerReference>").remove(0);
        let paths = between("<Path>", "</Path>");
        if !paths.iter().all(|path| is_valid(path)) {
            return error("InvalidArgument", "Your request contains one or more invalid invalidation paths.");
        }
        if let Some((id, known)) = self.invalidations.iter().find(|(_, known)| known.reference == reference) {
            return match known.paths == paths {
                true => document(201, id, known.left),
                false => reused(),
            };
        }
        if self.answers_reused {
            return reused();
        }
        let (mut wildcards, mut files) = counted(&paths);
        for busy in self.invalidations.values_mut().filter(|known| known.left > 0) {
            // Time goes on for those that nobody asks about.
            busy.left -= 1;
            let theirs = counted(&busy.paths);
            (wildcards, files) = (wildcards + theirs.0, files + theirs.1);
        }
        if wildcards > self.wildcards || files > self.files {
            return error(
                "TooManyInvalidationsInProgress",
                "Processing your request will cause you to exceed the maximum",
            );
        }
        let id = format!("I{}", self.invalidations.len() + 1);
        self.invalidations.insert(id.clone(), Invalidated { reference, paths, left: self.lasts });
        document(201, &id, self.lasts)
    }

    fn get(&mut self, id: &str) -> HttpResponse {
        let Some(known) = self.invalidations.get_mut(id) else { return refusal(404, "NoSuchInvalidation") };
        known.left = known.left.saturating_sub(1);
        document(200, id, known.left)
    }
}

fn reused() -> HttpResponse {
    let message = "Your request contains a caller reference that was used for a previous invalidation batch for the same distribution.";
    error("InvalidArgument", message)
}

/// As AWS documents it: visible ASCII that is not unsafe, with a wildcard at the end only. It refuses `~` too.
fn is_valid(path: &str) -> bool {
    let path = path.strip_suffix('*').unwrap_or(path);
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"#<>[\\]^`{|}~*".contains(&byte))
}

/// Paths with a wildcard, and others.
fn counted(paths: &[String]) -> (usize, usize) {
    let wildcards = paths.iter().filter(|path| path.ends_with('*')).count();
    (wildcards, paths.len() - wildcards)
}

fn document(status: u16, id: &str, left: u32) -> HttpResponse {
    let state = if left == 0 { "Completed" } else { "InProgress" };
    let time = "<CreateTime>2026-11-26T12:00:00Z</CreateTime>";
    let batch = "<InvalidationBatch><Paths><Quantity>0</Quantity></Paths><CallerReference>r</CallerReference></InvalidationBatch>";
    response(status, &format!("<Invalidation><Id>{id}</Id><Status>{state}</Status>{time}{batch}</Invalidation>"))
}

fn error(code: &str, message: &str) -> HttpResponse {
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
    response(400, &format!("<ErrorResponse>{error}<RequestId>request-1</RequestId></ErrorResponse>"))
}
