//! Credentials that end in the middle of a publish.

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, future},
};

use super::*;

/// Gives the keys `KEY0`, `KEY1`, …, or for ever the first.
#[derive(Debug, Default)]
struct Provider {
    asked: Arc<AtomicUsize>,
    stays: bool,
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let id = format!("KEY{}", if self.stays { 0 } else { number });
        future::ProvideCredentials::ready(Ok(Credentials::new(id, "secret-of-the-key", None, None, "test")))
    }
}

fn by(s3: &FakeS3, stays: bool) -> (S3Cdn, Arc<AtomicUsize>) {
    let provider = Provider { stays, ..Provider::default() };
    let asked = Arc::clone(&provider.asked);
    let account = s3.account_of(SharedCredentialsProvider::new(provider), 3);
    (S3Cdn::new(Name::new("web").unwrap(), account, BUCKET).prefix("site"), asked)
}

#[tokio::test(start_paused = true)]
async fn credentials_that_end_at_any_request_are_renewed_and_the_publish_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (site(dir.path(), 1).await, site(dir.path(), 2).await);
    let mut renewed = 0;
    for count in 0.. {
        let s3 = FakeS3::new();
        publish(&cx(), &cdn(&s3), &old, &PublishOptions::default()).await.unwrap();
        let (cdn, asked) = by(&s3, false);
        s3.expire("KEY0", count);
        let report = publish(&cx(), &cdn, &new, &PublishOptions::default()).await;
        let report = report.unwrap_or_else(|error| panic!("after {count} requests: {}", error.report()));
        assert_eq!(report.uploaded, 2, "after {count} requests");
        assert!(text(&s3, "site/index.html").starts_with(&script(2)), "after {count} requests");
        if asked.load(Ordering::SeqCst) == 1 {
            break;
        }
        renewed += 1;
    }
    assert!(renewed > 15, "{renewed}");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_cannot_be_renewed_stop_it_with_what_was_done_and_the_next_goes_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (site(dir.path(), 1).await, site(dir.path(), 2).await);
    // While the page is being stored: its script is there already. And when it is there, too.
    for (count, phase, left) in [(3, "pages; what is served did not change", 1), (4, "switching the pages", 0)] {
        let s3 = FakeS3::new();
        publish(&cx(), &cdn(&s3), &old, &PublishOptions::default()).await.unwrap();
        let (stuck, _) = by(&s3, true);
        let (other, once) = (s3.clone(), AtomicUsize::new(0));
        s3.watch(move |line| {
            if line == format!("PUT site/{}", script(2)) && once.fetch_add(1, Ordering::SeqCst) == 0 {
                other.expire("KEY0", count);
            }
        });
        let error = publish(&cx(), &stuck, &new, &PublishOptions::default()).await.unwrap_err();
        s3.watch(|_| {});
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthenticated, Effect::Partial), "{}", error.report());
        for part in ["ExpiredToken", "credentials have ended", "run again", phase] {
            assert!(error.report().contains(part), "{part}: {}", error.report());
        }
        assert!(!error.report().contains("secret-of-the-key"));
        assert!(text(&s3, "site/index.html").starts_with(&script(1)));
        let report = publish(&cx(), &cdn(&s3), &new, &PublishOptions::default()).await.unwrap();
        assert_eq!(report.uploaded, left, "{phase}");
    }
}
