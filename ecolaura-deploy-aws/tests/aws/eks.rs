//! Clusters, and tokens that STS answers to.

use aws_sdk_eks::types::VpcConfigRequest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ecolaura_deploy_aws::{Account, eks::EksCluster};
use ecolaura_deploy_core::{ErrorKind, backend::TokenSource as _, testing::servers::unique};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{ACCOUNT, REGION, account, cx};

pub(crate) async fn made(account: &Account) -> String {
    let (name, client) = (unique("cluster"), aws_sdk_eks::Client::new(account.sdk_config()));
    let request = client.create_cluster().name(&name).role_arn(format!("arn:aws:iam::{ACCOUNT}:role/eks"));
    request.resources_vpc_config(VpcConfigRequest::builder().build()).send().await.unwrap();
    name
}

#[tokio::test]
async fn a_cluster_tells_where_it_is_and_one_that_is_not_there_is_named() {
    let Some(account) = account().await else { return };
    let name = made(&account).await;
    let cluster = EksCluster::find(&account, &cx(), &name).await.unwrap();
    assert!(cluster.endpoint().starts_with("https://"), "{cluster:?}");
    assert!(!cluster.certificate_authority().is_empty());
    let error = EksCluster::find(&account, &cx(), "no-such-cluster").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.report().contains("cluster/no-such-cluster") && error.report().contains(REGION), "{error:?}");
}

#[tokio::test]
async fn what_a_token_asks_is_answered_with_who_we_are() {
    let Some(account) = account().await else { return };
    let cluster = EksCluster::find(&account, &cx(), &made(&account).await).await.unwrap();
    let token = cluster.tokens(&account, &cx()).token().await.unwrap();
    let question = token.value().expose().strip_prefix("k8s-aws-v1.").unwrap();
    let url = String::from_utf8(URL_SAFE_NO_PAD.decode(question).unwrap()).unwrap();
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut connection = tokio::net::TcpStream::connect(host).await.unwrap();
    // moto looks for the service in this header alone; which account it is, it tells anybody.
    let service = format!("Authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/20270115/{REGION}/sts/aws4_request, x");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n{service}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("<GetCallerIdentityResult>") && answer.contains(ACCOUNT),
        "{answer}"
    );
}
