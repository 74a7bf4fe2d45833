//! What of the platform is in an account of AWS: images in ECR, records and sites in buckets, sites before the world by
//! `CloudFront`, secrets in Secrets Manager.

pub mod calls;
pub mod edge;
pub mod prepare;
mod settings;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_aws::{
    Account, Lifetime, S3Cdn, S3RunStore, Scope, SecretsManager,
    access::{Answer, Policy, simulate},
    ecr::{EcrLogin, EcrRepository, EcrScanner, Mutability, ecr_registry},
    eks::EksCluster,
};
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    analysis::scan::SeverityPolicy,
    backend::{CdnPublisher, ImageScanner, Registry, SecretStore, Severity},
    pipeline::{Handle, constant},
    store::RunStore,
    vocabulary::{EnvironmentName, Repository},
};
use ecolaura_deploy_examples::aws::{Played, by_path, connect, is_played};
use serde_json::json;

use self::settings::Settings;
use super::{
    pipeline::{BACKEND, NOTIFICATIONS, Stage, repository},
    session::remark,
    storage::{Looked, Storage},
};

/// How long a release may take: credentials that end before are refused.
const PLANNED: Duration = Duration::from_mins(30);

/// Where records are in their bucket, and sites in theirs.
const RUNS: &str = "runs";
const SITE: &str = "site";

/// The account, and what of it the platform has.
#[derive(Debug, Clone)]
pub struct Aws {
    account: Account,
    scope: Scope,
    settings: Settings,
}

impl Aws {
    /// As `file` says. Fails if that is another account than the one of the credentials, or if these end too early.
    pub async fn open(cx: &Context, file: &Path) -> Result<Self> {
        let settings = Settings::read_complete(file)?;
        let account = connect(cx, Some(&settings.region)).await?;
        account.expect(cx, &settings.account, &settings.region).await?;
        if account.covers(cx, PLANNED).await? == Lifetime::Untold {
            let minutes = PLANNED.as_secs() / 60;
            remark(&format!("the credentials do not tell when they end; a release may take {minutes} minutes"));
        }
        let scope = account.scope(cx).await?;
        Ok(Self { account, scope, settings })
    }

    fn cdn(&self, environment: &EnvironmentName) -> Result<S3Cdn> {
        let place = self.settings.place(environment)?;
        let cdn = S3Cdn::new(format!("{environment}-site").parse()?, self.account.clone(), &place.bucket);
        Ok(cdn.prefix(SITE).distribution(&place.distribution))
    }

    fn secret_store(&self, environment: &EnvironmentName) -> Result<SecretsManager> {
        Ok(SecretsManager::new(format!("{environment}-secrets").parse()?, &self.account))
    }

    /// Tags of environments move, and old images go in time; everything is deployed by digest.
    fn repository(&self, name: Repository) -> EcrRepository {
        let many = json!({"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 100});
        let rule = json!({"rulePriority": 1, "selection": many, "action": {"type": "expire"}});
        EcrRepository::new(&self.account, name)
            .mutability(Mutability::Mutable)
            .scan_on_push(true)
            .lifecycle(json!({"rules": [rule]}))
    }

    fn image_scanner(&self) -> Result<EcrScanner> {
        Ok(EcrScanner::new("ecr".parse()?, &self.account).starting())
    }

    /// What a role must be allowed that ships to `environments`, goes back and cleans up there, and nothing more.
    pub fn policy(&self, environments: &[EnvironmentName]) -> Result<Policy> {
        let scope = &self.scope;
        let mut grants = vec![EcrLogin::logging_in()];
        grants.extend(S3RunStore::keeping(scope, &self.settings.records, RUNS));
        for service in [BACKEND, NOTIFICATIONS] {
            let name = repository(service)?;
            grants.push(EcrLogin::pulling(scope, &name));
            grants.push(EcrLogin::pushing(scope, &name));
            grants.push(self.image_scanner()?.grant(scope, name.as_str()));
            grants.push(self.repository(name).grant(scope));
        }
        for environment in environments {
            let place = self.settings.place(environment)?;
            let cdn = self.cdn(environment)?;
            grants.extend([cdn.publishing(), cdn.checking(), cdn.cleaning()].concat());
            grants.push(SecretsManager::reading(scope, &place.token()));
        }
        grants.extend(self.settings.cluster.iter().map(|cluster| EksCluster::finding(scope, cluster)));
        Ok(Policy::of(grants))
    }

    /// The same as IAM takes it.
    pub fn document(&self, environments: &[EnvironmentName]) -> Result<String> {
        Ok(format!("{:#}", self.policy(environments)?.document()?))
    }
}

#[async_trait]
impl Storage for Aws {
    async fn registry(&self, cx: &Context, near: Arc<dyn Registry>) -> Result<Arc<dyn Registry>> {
        if is_played(&self.account) {
            return Ok(Arc::new(Played::new(near, &self.account)));
        }
        Ok(Arc::new(ecr_registry(&self.account, cx, "registry".parse()?).await?))
    }

    #[cfg(feature = "k8s")]
    fn registry_host(&self) -> Option<String> {
        (!is_played(&self.account)).then(|| ecolaura_deploy_aws::ecr::registry_host(&self.scope))
    }

    fn scanner(&self, _registry: &Arc<dyn Registry>) -> Result<(Arc<dyn ImageScanner>, SeverityPolicy)> {
        let policy =
            self.settings.tolerate.iter().cloned().fold(SeverityPolicy::new(Severity::High), SeverityPolicy::allow);
        let scanner: Arc<dyn ImageScanner> = Arc::new(self.image_scanner()?);
        Ok((if is_played(&self.account) { by_path(scanner) } else { scanner }, policy))
    }

    async fn records(&self, cx: &Context) -> Result<Looked<dyn RunStore>> {
        let store = S3RunStore::open(cx, &self.account, &self.settings.records, RUNS).await?;
        Ok((Arc::new(store), Vec::new()))
    }

    fn site(&self, environment: &EnvironmentName) -> Result<Looked<dyn CdnPublisher>> {
        let site = Arc::new(self.cdn(environment)?);
        Ok((site.clone(), vec![site]))
    }

    fn site_address(&self, environment: &EnvironmentName) -> Option<String> {
        self.settings.place(environment).ok()?.address.clone()
    }

    /// S3 keeps only some headers: the distribution sends the others.
    fn sends_headers(&self) -> bool {
        false
    }

    fn secrets(&self, environment: &EnvironmentName) -> Result<(Arc<dyn SecretStore>, String)> {
        Ok((Arc::new(self.secret_store(environment)?), self.settings.place(environment)?.token()))
    }

    /// The EKS cluster of the settings.
    #[cfg(feature = "k8s")]
    async fn cluster(&self, cx: &Context) -> Result<Option<ecolaura_deploy_k8s::Connect>> {
        let Some(name) = &self.settings.cluster else { return Ok(None) };
        let cluster = EksCluster::find(&self.account, cx, name).await?;
        let tokens = Arc::new(cluster.tokens(&self.account, cx));
        let connect = ecolaura_deploy_k8s::Connect::tokens(cluster.endpoint(), tokens);
        Ok(Some(connect.certificate_authority(cluster.certificate_authority())))
    }

    fn furnish(&self, _environment: &EnvironmentName) -> Result<()> {
        Ok(())
    }

    async fn allowed(&self, cx: &Context, environments: &[EnvironmentName]) -> Result<()> {
        match simulate(&self.account, cx, &self.policy(environments)?).await? {
            Answer::Missing { principal, missing } => {
                let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
                let message = format!("{principal} may not do all that a release takes:\n{}", lines.join("\n"));
                Err(Error::new(ErrorKind::PermissionDenied, "ship.allowed", message)
                    .advice("nothing was begun; give it what `--policy` prints"))
            }
            Answer::NotChecked { why } => {
                remark(&format!("whether all is allowed that a release takes could not be asked: {why}"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn check(&self, cx: &Context, environment: &EnvironmentName) -> Result<()> {
        self.cdn(environment)?.check(cx).await?.refuse(cx)?;
        let (secrets, token) = self.secrets(environment)?;
        match secrets.resolve(cx, &token).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error.advice("`--prepare` makes it")),
            found => found.map(drop),
        }
    }

    fn declare(&self, stage: &mut Stage<'_>, service: &str, repository: Repository) -> Option<Handle<String>> {
        Some(stage.add(format!("repository-{service}"), self.repository(repository), constant(())))
    }
}
