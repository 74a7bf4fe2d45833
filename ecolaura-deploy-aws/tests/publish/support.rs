//! Sites on the servers.

use std::{fs, path::Path};

use ecolaura_deploy_aws::S3Cdn;
use ecolaura_deploy_core::cdn::{PreparedSite, SiteSource};

pub(crate) use super::servers::*;

/// A site in a new bucket.
pub(crate) async fn cdn(endpoint: &str) -> S3Cdn {
    let account = account(endpoint).await;
    let bucket = bucket(&account).await;
    S3Cdn::new("web".parse().unwrap(), account, bucket).prefix("site")
}

pub(crate) fn script(number: u32) -> String {
    format!("app {:08x}ü.{:08x}.js", number, 0xabcd_1000 + number)
}

/// A page that names its assets, one of them new in each release.
pub(crate) async fn site(dir: &Path, number: u32) -> PreparedSite {
    let dist = dir.join(format!("dist-{number}"));
    fs::create_dir_all(&dist).unwrap();
    fs::write(dist.join("index.html"), format!("{} logo.0123abcd.svg", script(number))).unwrap();
    fs::write(dist.join("404.html"), "no such page").unwrap();
    fs::write(dist.join(script(number)), format!("script {number}")).unwrap();
    fs::write(dist.join("logo.0123abcd.svg"), "logo").unwrap();
    SiteSource::new(dist).prepare(&cx()).await.unwrap()
}
