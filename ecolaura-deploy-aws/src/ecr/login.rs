//! Logging in to the registry of an account.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ecr::Client;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result, Secret,
    oci::{Credential, CredentialSource, OciRegistry},
    vocabulary::{Name, Repository},
};

use super::{registry_host, resource};
use crate::{Account, Scope, access::Grant};

const OPERATION: &str = "ecr.login";

/// Logs in to the registry of an account, and to no other: whoever else asks gets nothing.
///
/// A login is good for twelve hours; the registry's client asks for another when it is refused, in the middle of a push
/// too.
#[derive(Debug, Clone)]
pub struct EcrLogin {
    account: Account,
    hosts: BTreeSet<String>,
}

impl EcrLogin {
    /// As the identity of `account`.
    pub fn new(account: &Account) -> Self {
        Self { account: account.clone(), hosts: BTreeSet::new() }
    }

    /// Also at `host`, which is the same registry by another name: an endpoint of a private network.
    pub fn at(mut self, host: impl Into<String>) -> Self {
        self.hosts.insert(host.into());
        self
    }

    /// What logging in takes. A policy can name no repository for it.
    pub fn logging_in() -> Grant {
        Grant::new(["ecr:GetAuthorizationToken"], ["*"])
    }

    /// What pulling from `repository` takes, beside logging in.
    pub fn pulling(scope: &Scope, repository: &Repository) -> Grant {
        let actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
        Grant::new(actions, [resource(scope, repository.as_str())])
    }

    /// What pushing to `repository` takes, beside logging in and pulling: what is there already is asked for.
    pub fn pushing(scope: &Scope, repository: &Repository) -> Grant {
        let actions = ["ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"];
        Grant::new(actions, [resource(scope, repository.as_str())])
    }
}

/// The registry of `account`, called `name` in plans and records. Repositories without a host are in it.
///
/// Say [`immutable_tags`](OciRegistry::immutable_tags) of it if its repositories are declared so.
pub async fn ecr_registry(account: &Account, cx: &Context, name: Name) -> Result<OciRegistry> {
    let scope = account.scope(cx).await?;
    Ok(OciRegistry::new(name, &registry_host(&scope))?.credentials(EcrLogin::new(account)))
}

#[async_trait]
impl CredentialSource for EcrLogin {
    async fn credential(&self, cx: &Context, to: &str) -> Result<Credential> {
        let own = registry_host(&self.account.scope(cx).await?);
        if to != own && !self.hosts.contains(to) {
            return Ok(Credential::Anonymous);
        }
        let call = self.account.reads((cx, OPERATION), "ecr:GetAuthorizationToken", "*");
        let request = Client::new(self.account.sdk_config()).get_authorization_token().send();
        let answer = call.send(request).await?;
        let token = answer.authorization_data().first().and_then(|data| data.authorization_token());
        token.and_then(read).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, OPERATION, "the registry gave no login that can be read")
                .with("registry", own)
        })
    }
}

/// The name and the password in a token.
fn read(token: &str) -> Option<Credential> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Credential::basic(name, Secret::new(password.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use ecolaura_deploy_core::backend::Registry as _;
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::fake::{ACCOUNT, Answer, FakeAws, REGION, cx, unknown};

    fn giving(token: &'static str) -> FakeAws {
        FakeAws::new(move |asked| match asked.operation.as_str() {
            "GetAuthorizationToken" => Answer::json(&json!({"authorizationData": [{"authorizationToken": token}]})),
            _ => unknown(),
        })
    }

    #[tokio::test]
    async fn the_login_goes_to_the_own_registry_and_to_no_other() {
        let fake = giving("QVdTOmh1bnRlcjItaHVudGVyMg==");
        let login = EcrLogin::new(&fake.account(1)).at("ecr.internal");
        let own = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com");
        for (host, let_in) in [(own.as_str(), true), ("ecr.internal", true), ("ghcr.io", false), ("evil.test", false)] {
            let credential = login.credential(&cx(), host).await.unwrap();
            let given = matches!(&credential, Credential::Basic { username, password }
                if username == "AWS" && password.expose() == "hunter2-hunter2");
            assert_eq!(given, let_in, "{host}: {credential:?}");
        }
        assert_eq!(fake.operations().len(), 2);
    }

    /// A registry without images that takes each login once. Tells which it saw.
    async fn forgetful(listener: TcpListener, seen: Arc<Mutex<Vec<String>>>) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = String::new();
            while !asked.ends_with("\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap().into());
            }
            let login = asked.lines().find_map(|line| line.strip_prefix("authorization: ")).map(str::to_owned);
            let good = {
                let mut seen = seen.lock().unwrap();
                let good = login.as_ref().is_some_and(|login| !seen.contains(login));
                seen.extend(login);
                good
            };
            let status = if good { "404 Not Found" } else { "401 Unauthorized" };
            let headers = "WWW-Authenticate: Basic realm=\"ecr\"\r\nContent-Length: 0\r\nConnection: close";
            stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n").as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_registry_that_refuses_a_login_gets_a_new_one() {
        let given = AtomicUsize::new(0);
        let fake = FakeAws::new(move |asked| match asked.operation.as_str() {
            "GetAuthorizationToken" => {
                let token = STANDARD.encode(format!("AWS:password-{}", given.fetch_add(1, Ordering::SeqCst)));
                Answer::json(&json!({"authorizationData": [{"authorizationToken": token}]}))
            }
            _ => unknown(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let login = EcrLogin::new(&fake.account(1)).at(&host);
        let registry = OciRegistry::new("ecr".parse().unwrap(), &host).unwrap().credentials(login);
        let seen = Arc::default();
        let server = tokio::spawn(forgetful(listener, Arc::clone(&seen)));
        let (repository, tag) = ("shop/web".parse().unwrap(), "v1".parse().unwrap());
        for _ in 0..2 {
            assert_eq!(registry.resolve(&cx(), &repository, &tag).await.unwrap(), None);
        }
        server.abort();
        let (first, second) = ("Basic QVdTOnBhc3N3b3JkLTA=", "Basic QVdTOnBhc3N3b3JkLTE=");
        assert_eq!(*seen.lock().unwrap(), [first, first, second]);
    }

    #[tokio::test]
    async fn a_login_that_cannot_be_read_is_not_shown() {
        let fake = giving("aHVudGVyMi1odW50ZXIy");
        let own = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com");
        let error = EcrLogin::new(&fake.account(1)).credential(&cx(), &own).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(!error.report().contains("hunter2") && !error.report().contains("aHVudGVy"), "{error:?}");
    }

    #[tokio::test]
    async fn the_registry_of_another_partition_has_another_host() {
        assert_eq!(registry_host(&Scope::new("cn-north-1", "1")), "1.dkr.ecr.cn-north-1.amazonaws.com.cn");
        let registry = ecr_registry(&giving("").account(1), &cx(), "ecr".parse().unwrap()).await.unwrap();
        assert!(format!("{registry:?}").contains(&format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com")));
    }
}
