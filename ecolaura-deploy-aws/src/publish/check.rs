//! Whether bucket and distribution are as a publish needs them, before anything is done.

#[cfg(feature = "cloudfront")]
mod distribution;
mod gather;
#[cfg(test)]
mod tests;

use std::fmt;

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::S3Cdn;

const OPERATION: &str = "cdn.check";

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Weight {
    /// A publish works, and something should be better.
    Advice,
    /// A publish cannot work, or nobody would see it.
    Refusal,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// The ARN of the bucket or the distribution.
    pub resource: String,
    /// The action that told it, as policies name it.
    pub action: String,
    /// What was found, and what was expected.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, action, found, remedy, .. } = self;
        write!(f, "{resource}: {found} ({action}); {remedy}")
    }
}

/// All that is not as it should be, refusals first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Fails if a publish cannot work, naming every refusal; says the rest as warnings.
    pub fn refuse(&self, cx: &Context) -> Result<()> {
        let (refusals, advice): (Vec<_>, Vec<_>) = self.0.iter().partition(|finding| finding.weight == Weight::Refusal);
        advice.iter().for_each(|finding| cx.warn(finding.to_string()));
        if refusals.is_empty() {
            return Ok(());
        }
        let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        Err(Error::new(ErrorKind::InvalidInput, OPERATION, all.join(" · "))
            .with("problems", refusals.len())
            .advice("nothing was changed; mend what is named, then run again"))
    }
}

/// A fact that was read, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact<T> {
    Known(T),
    /// The right to read it is missing.
    Denied,
    /// The server does not know such things.
    Untold,
}

/// Where the bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Here,
    Elsewhere(Option<String>),
    Nowhere,
    /// It is somebody else's, or the right to list it is missing.
    Closed,
}

/// What was read of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) place: Place,
    /// Whether all public access is blocked.
    pub(super) blocked: Fact<bool>,
    /// Whether half uploads are removed by a rule.
    pub(super) aborts: Fact<bool>,
    /// Whether former versions are kept.
    pub(super) versioned: Fact<bool>,
}

/// The places of the site, as far as they matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) bucket: String,
    pub(super) arn: String,
    pub(super) region: String,
    pub(super) prefix: String,
    pub(super) state: String,
}

/// Judges the bucket.
pub(super) fn judge(layout: &Layout, facts: &Facts) -> Vec<Finding> {
    if let Some((found, remedy)) = unusable(layout, &facts.place) {
        return vec![layout.finding(Weight::Refusal, "s3:ListBucket", found, remedy)];
    }
    let mut findings = Vec::new();
    for Wish { fact, action, lacks, remedy } in wishes(facts) {
        match fact {
            Fact::Known(false) => findings.push(layout.finding(Weight::Advice, action, lacks.to_owned(), remedy)),
            Fact::Denied => {
                let found = format!("it could not be read whether {}", lacks.split(',').next().unwrap_or(lacks));
                let remedy = "allow the action on the bucket, or look yourself";
                findings.push(layout.finding(Weight::Advice, action, found, remedy));
            }
            Fact::Known(true) | Fact::Untold => {}
        }
    }
    if !layout.prefix.is_empty() && layout.state.starts_with(&layout.prefix) {
        let found = format!("the state `{}` lies in what is served, `{}`", layout.state, layout.prefix);
        findings.push(layout.finding(Weight::Refusal, "s3:PutObject", found, "give the state a prefix beside it"));
    }
    findings
}

/// Why the bucket cannot be used at all, and what to do.
fn unusable(layout: &Layout, place: &Place) -> Option<(String, &'static str)> {
    Some(match place {
        Place::Here => return None,
        Place::Elsewhere(region) => {
            let region = region.as_deref().unwrap_or("another region");
            (format!("the bucket is in {region}, not in {}", layout.region), "connect to the bucket's region")
        }
        Place::Nowhere => (format!("there is no bucket `{}`", layout.bucket), "create it, or mend the name"),
        Place::Closed => {
            let found = "the bucket is somebody else's, or may not be listed".to_owned();
            (found, "allow s3:ListBucket on it, or mend the name")
        }
    })
}

/// What a bucket should have.
struct Wish<'a> {
    fact: &'a Fact<bool>,
    action: &'static str,
    lacks: &'static str,
    remedy: &'static str,
}

fn wishes(facts: &Facts) -> [Wish<'_>; 3] {
    [
        Wish {
            fact: &facts.blocked,
            action: "s3:GetBucketPublicAccessBlock",
            lacks: "public access is not blocked",
            remedy: "block all public access, and let an origin access control read the bucket",
        },
        Wish {
            fact: &facts.aborts,
            action: "s3:GetLifecycleConfiguration",
            lacks: "no rule removes half uploads, which cost and are not listed",
            remedy: "add a lifecycle rule with AbortIncompleteMultipartUpload after some days",
        },
        Wish {
            fact: &facts.versioned,
            action: "s3:GetBucketVersioning",
            lacks: "former versions are not kept, so that a state that was damaged cannot be restored",
            remedy: "turn versioning on, with a rule that expires versions after some weeks",
        },
    ]
}

impl Layout {
    fn finding(&self, weight: Weight, action: &str, found: String, remedy: &str) -> Finding {
        let (resource, action, remedy) = (self.arn.clone(), action.to_owned(), remedy.to_owned());
        Finding { weight, resource, action, found, remedy }
    }
}

impl S3Cdn {
    /// Looks at the bucket, and at the distribution if there is one. Reads only. What may not be read is a finding too.
    ///
    /// As a step before the publish: `check("site", move |cx, ()| … cdn.check(&cx).await?.refuse(&cx) …)`.
    pub async fn check(&self, cx: &Context) -> Result<Findings> {
        cx.check(OPERATION)?;
        let layout = self.layout();
        let mut findings = judge(&layout, &self.facts((cx, OPERATION)).await?);
        #[cfg(feature = "cloudfront")]
        if let Some(before) = &self.distribution {
            findings.extend(before.judged((cx, OPERATION), &layout).await?);
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
        Ok(Findings(findings))
    }

    fn layout(&self) -> Layout {
        Layout {
            bucket: self.bucket.name.clone(),
            arn: self.bucket.arn(""),
            region: self.bucket.account.region().to_owned(),
            prefix: self.prefix.clone(),
            state: self.state.clone(),
        }
    }
}
