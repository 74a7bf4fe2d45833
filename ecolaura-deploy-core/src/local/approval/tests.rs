use std::{io::Cursor, sync::Arc, time::Duration};

use super::*;
use crate::{
    backend::{Approval, Approver},
    vocabulary::{Digest, Name},
};

fn cx() -> Context {
    Context::new("production".parse().unwrap())
}

fn name() -> Name {
    "approver".parse().unwrap()
}

fn request() -> ApprovalRequest {
    let expires = "9999-01-01T00:00:00Z".parse().unwrap();
    let digest = Digest::of("plan");
    ApprovalRequest::new("production".parse().unwrap(), "ship it", digest, expires, vec!["2 changes".to_owned()])
}

fn prompt(input: &str) -> PromptApprover {
    PromptApprover::on(name(), "ana", Cursor::new(input.to_owned()), std::io::sink())
}

fn answer(word: &str, digest: Digest, environment: &str, expires: &str) -> String {
    format!(
        r#"{{"answer":"{word}","by":"ana","reason":"not today","environment":"{environment}","digest":"{digest}","expires":"{expires}"}}"#
    )
}

const LATER: &str = "9998-01-01T00:00:00Z";

#[cfg(feature = "test-util")]
#[tokio::test]
async fn all_conform() {
    use crate::testing::conformance::small::approver::{Wish, suite};
    suite(|wish, _request| async move {
        let approver = match wish {
            Wish::Approve => FixedApprover::approving(name(), "ana"),
            Wish::Reject => FixedApprover::rejecting(name(), "ana", "not today"),
            Wish::Silence => return None,
        };
        Some(Arc::new(approver) as Arc<dyn Approver>)
    })
    .await;
    suite(|wish, _request| async move {
        let (ours, theirs) = std::io::pipe().unwrap();
        let approver = match wish {
            Wish::Approve => prompt("yes\n"),
            Wish::Reject => prompt("no not today\n"),
            Wish::Silence => {
                // Nobody writes, and the pipe stays open for the time of the test.
                std::mem::forget(theirs);
                PromptApprover::on(name(), "ana", std::io::BufReader::new(ours), std::io::sink())
            }
        };
        Some(Arc::new(approver) as Arc<dyn Approver>)
    })
    .await;
    suite(|wish, _request| async move {
        let approver = CallbackApprover::new(name(), move |_cx, request: ApprovalRequest| async move {
            match wish {
                Wish::Approve => Ok(Approval::Approved { by: "ana".to_owned(), digest: request.digest }),
                Wish::Reject => Ok(Approval::Rejected { by: "ana".to_owned(), reason: "not today".to_owned() }),
                Wish::Silence => std::future::pending().await,
            }
        });
        Some(Arc::new(approver) as Arc<dyn Approver>)
    })
    .await;
    let folders = &std::sync::Mutex::new(Vec::new());
    suite(|wish, request: ApprovalRequest| async move {
        let folder = tempfile::tempdir().unwrap();
        let word = match wish {
            Wish::Approve => Some("approved"),
            Wish::Reject => Some("rejected"),
            Wish::Silence => None,
        };
        if let Some(word) = word {
            let text = answer(word, request.digest, request.environment.as_str(), LATER);
            std::fs::write(folder.path().join(format!("{}.json", request.environment)), text).unwrap();
        }
        let approver = FileApprover::new(name(), folder.path()).polling(Duration::from_millis(5));
        folders.lock().unwrap().push(folder);
        Some(Arc::new(approver) as Arc<dyn Approver>)
    })
    .await;
}

#[tokio::test]
async fn only_a_whole_yes_approves_at_the_prompt() {
    for (input, approved) in [
        ("yes\n", Some(true)),
        ("  yes  \r\n", Some(true)),
        ("y\nyes\n", Some(true)),
        ("no\n", Some(false)),
        ("no because\n", Some(false)),
        ("", None),
        ("y\n", None),
        ("YES\nyes please\nyesterday\nyes\n", None),
    ] {
        let found = match prompt(input).request(&cx(), &request()).await.unwrap() {
            Approval::Approved { .. } => Some(true),
            Approval::Rejected { .. } => Some(false),
            Approval::Waiting { .. } => None,
        };
        assert_eq!(found, approved, "{input:?}");
    }
}

#[tokio::test]
async fn a_line_for_a_question_that_was_given_up_does_not_approve_the_next() {
    use std::io::Write as _;
    let (ours, mut theirs) = std::io::pipe().unwrap();
    let approver = PromptApprover::on(name(), "ana", std::io::BufReader::new(ours), std::io::sink());
    let hasty = cx().with_deadline_in(Duration::from_millis(30));
    assert_eq!(approver.request(&hasty, &request()).await.unwrap_err().kind(), ErrorKind::Timeout);
    theirs.write_all(b"yes\nno\n").unwrap();
    let answer = approver.request(&cx(), &request()).await.unwrap();
    assert!(matches!(answer, Approval::Rejected { .. }), "{answer:?}");
}

#[tokio::test]
async fn without_a_terminal_the_prompt_says_how_to_answer() {
    let approver = PromptApprover { terminal: None, ..prompt("") };
    let Approval::Waiting { how } = approver.request(&cx(), &request()).await.unwrap() else { panic!() };
    assert!(how.contains("production"), "{how}");
}

#[tokio::test]
async fn answers_for_something_else_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let approver = FileApprover::new(name(), folder.path());
    let path = folder.path().join("production.json");
    for text in [
        answer("approved", Digest::of("another plan"), "production", LATER),
        answer("approved", request().digest, "staging", LATER),
        answer("approved", request().digest, "production", "2020-01-01T00:00:00Z"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let found = approver.request(&cx(), &request()).await.unwrap();
        assert!(matches!(found, Approval::Waiting { .. }), "{text}: {found:?}");
    }
    std::fs::write(&path, "{\"answer\":\"approved\"}").unwrap();
    let report = approver.request(&cx(), &request()).await.unwrap_err().report();
    assert!(report.contains("production.json") && report.contains("by"), "{report}");
}

#[tokio::test]
async fn what_waiting_says_to_write_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let approver = FileApprover::new(name(), folder.path());
    let Approval::Waiting { how } = approver.request(&cx(), &request()).await.unwrap() else { panic!() };
    let text = &how[how.find('{').unwrap()..=how.find('}').unwrap()];
    std::fs::write(folder.path().join("production.json"), text).unwrap();
    let found = approver.request(&cx(), &request()).await.unwrap();
    assert_eq!(found, Approval::Approved { by: "NAME".to_owned(), digest: request().digest });
}
