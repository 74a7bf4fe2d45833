//! Who we are, over the wire.

use std::time::Duration;

use ecolaura_deploy_aws::Lifetime;

use super::{
    calls::Calls,
    support::{ACCOUNT, REGION, account, cx},
};

#[tokio::test]
async fn the_account_is_the_one_that_the_server_says() {
    let Some(account) = account().await else { return };
    let calls = Calls::record();
    account.expect(&cx(), ACCOUNT, REGION).await.unwrap();
    let error = account.expect(&cx(), "999988887777", REGION).await.unwrap_err();
    assert!(error.report().contains(ACCOUNT) && error.report().contains("999988887777"), "{error:?}");
    assert_eq!(calls.all(), [("sts:GetCallerIdentity".to_owned(), "*".to_owned())]);
    assert_eq!(account.covers(&cx(), Duration::from_hours(9)).await.unwrap(), Lifetime::Endless);
}
