//! What a token says, and how long it lasts.

use std::{collections::BTreeMap, sync::Arc};

use ecolaura_deploy_core::clock::FixedClock;

use super::*;
use crate::fake::{FakeAws, REGION, cx, unknown};

const NOW: u64 = 1_800_000_000;

fn source(ends_in: Option<Duration>) -> (EksTokens, Context) {
    let now = jiff::Timestamp::from_second(NOW.try_into().unwrap()).unwrap();
    let cx = cx().with_clock(Arc::new(FixedClock::new(now)));
    let end = ends_in.map(|left| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW) + left);
    let session = end.map(|_| "token-of-a-session".to_owned());
    let credentials = Credentials::new("AKIAFAKE", "fake-secret-key", session, end, "fake");
    let account = FakeAws::new(|_| unknown()).account_of(1, credentials);
    (EksTokens::new(&account, &cx, "production"), cx)
}

fn parameters(token: &Token) -> (String, BTreeMap<String, String>) {
    let text = token.value().expose().strip_prefix(PREFIX).unwrap();
    let url = String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let (address, query) = url.split_once('?').unwrap();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    (address.to_owned(), pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

#[tokio::test]
async fn a_token_is_a_signed_question_bound_to_the_cluster_and_the_region() {
    let (source, cx) = source(None);
    let token = source.token().await.unwrap();
    let (address, parameters) = parameters(&token);
    assert_eq!(address, format!("https://sts.{REGION}.amazonaws.com/"));
    let parameter = |name: &str| parameters[name].as_str();
    assert_eq!((parameter("Action"), parameter("X-Amz-Expires")), ("GetCallerIdentity", "60"));
    assert_eq!(parameter("X-Amz-SignedHeaders"), "host%3Bx-k8s-aws-id");
    assert!(parameter("X-Amz-Credential").contains(&format!("{REGION}%2Fsts")), "{parameters:?}");
    assert_eq!(parameter("X-Amz-Date"), "20270115T080000Z");
    // What the SDK for Python signs the same question with.
    let signature = "02e76e256b1ad2d825e4cab63ed679ab23fd106331b05c642d736831aa3c8282";
    assert_eq!(parameter("X-Amz-Signature"), signature);
    assert_eq!(cx.redactor().redact(token.value().expose()), "[redacted]");
    assert!(!format!("{source:?}{token:?}").contains(PREFIX));
}

#[tokio::test]
async fn the_signature_depends_on_the_cluster() {
    let (source, cx) = source(None);
    let other = EksTokens::new(&source.account, &cx, "staging");
    let signature = |token: &Token| parameters(token).1["X-Amz-Signature"].clone();
    assert_ne!(signature(&source.token().await.unwrap()), signature(&other.token().await.unwrap()));
}

#[tokio::test]
async fn a_token_ends_a_minute_early_and_never_after_the_credentials() {
    for (left, life) in [(None, 14), (Some(60), 14), (Some(5), 5)] {
        let (source, _) = source(left.map(Duration::from_mins));
        assert_eq!(source.token().await.unwrap().life(), Some(Duration::from_mins(life)), "{left:?}");
    }
    let (source, _) = source(Some(Duration::ZERO));
    assert_eq!(source.token().await.unwrap_err().kind(), ErrorKind::Unauthenticated);
}
