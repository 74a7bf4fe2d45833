//! Prints what a role must be allowed that deploys, and who may take it on: a workflow of one repository on GitHub, or a
//! service account of a cluster. Nobody is asked: it is made of what the backends say that they need.
//!
//! `cargo run --features aws --example iam_policy [-- --account NUMBER --repository OWNER/NAME …]`

use std::process::ExitCode;

use clap::Parser;
use ecolaura_deploy_aws::{
    S3RunStore, Scope, SecretsManager,
    access::{
        Policy,
        trust::{self, Workflow},
    },
    ecr::{EcrLogin, EcrScanner},
    eks::EksCluster,
};
use ecolaura_deploy_core::Context;
use ecolaura_deploy_examples::{
    aws::connect,
    place::{block_on, say},
};
use serde_json::json;

/// Prints the policy of a role that deploys, and who may take it on.
#[derive(Debug, Parser)]
#[command(name = "iam_policy")]
struct Options {
    /// The number of the account
    #[arg(long, default_value = "111122223333")]
    account: String,

    #[arg(long, default_value = "eu-central-1")]
    region: String,

    /// The repository on GitHub whose workflows deploy
    #[arg(long, value_name = "OWNER/NAME", default_value = "ecolaura/platform")]
    repository: String,

    /// The environment that such a workflow must name
    #[arg(long, default_value = "production")]
    environment: String,

    /// The repository of the images
    #[arg(long, default_value = "ecolaura/backend")]
    image: String,

    /// The bucket of the site, and the id of its distribution
    #[arg(long, default_value = "ecolaura-site")]
    bucket: String,
    #[arg(long, default_value = "E2EXAMPLE")]
    distribution: String,

    /// The bucket of the records of runs
    #[arg(long, default_value = "ecolaura-deploys")]
    records: String,

    /// A secret that the services read
    #[arg(long, default_value = "ecolaura/production/api-token")]
    secret: String,

    /// The EKS cluster
    #[arg(long, default_value = "ecolaura")]
    cluster: String,
}

fn main() -> ExitCode {
    let options = Options::parse();
    block_on("iam_policy", async {
        let scope = Scope::new(&options.region, &options.account);
        // Nobody is asked anything by it.
        let account = connect(&Context::new("dev".parse()?), Some(&options.region)).await?;
        let image = options.image.parse()?;
        let site = ecolaura_deploy_aws::S3Cdn::new("site".parse()?, account.clone(), &options.bucket);
        let site = site.prefix("site").distribution(&options.distribution);
        let mut grants = vec![
            EcrLogin::logging_in(),
            EcrLogin::pulling(&scope, &image),
            EcrLogin::pushing(&scope, &image),
            EcrScanner::new("ecr".parse()?, &account).grant(&scope, image.as_str()),
            SecretsManager::reading(&scope, &options.secret),
            EksCluster::finding(&scope, &options.cluster),
        ];
        grants.extend([site.publishing(), site.checking()].concat());
        grants.extend(S3RunStore::keeping(&scope, &options.records, "runs"));
        let workflow = Workflow::Environment(options.environment.clone());
        let documents = json!({
            "policy": Policy::of(grants).document()?,
            "trust": {
                "github": trust::github(&scope, &options.repository, &workflow)?,
                "pod_identity": trust::pod_identity(&scope, &options.cluster, "deploy", "ship")?,
            },
        });
        say(&format!("{documents:#}"));
        Ok(ExitCode::SUCCESS)
    })
}
