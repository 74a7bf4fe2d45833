//! Whether a distribution shows the bucket.

use ecolaura_deploy_core::{ErrorKind, Result};

use super::{Finding, Layout, Weight};
use crate::publish::{bucket::Within, invalidate::Distribution};

const ACTION: &str = "cloudfront:GetDistribution";

/// What was read of the distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    There { enabled: bool, origins: Vec<Origin> },
    Nowhere,
    Denied,
}

/// Where a distribution reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) domain: String,
    /// `/site`, or nothing.
    pub(super) path: String,
}

impl Origin {
    /// The keys that it shows begin with this.
    fn folder(&self) -> String {
        match self.path.trim_matches('/') {
            "" => String::new(),
            path => format!("{path}/"),
        }
    }

    /// Whether it reads from `bucket`: by the bucket's address, in any of its forms, or that of its website.
    fn is_of(&self, bucket: &str) -> bool {
        self.domain.strip_prefix(bucket).is_some_and(|rest| rest.starts_with(".s3.") || rest.starts_with(".s3-"))
    }
}

/// Judges a distribution whose viewers should see the site below `below`, which is empty or begins with `/`.
pub(super) fn judge(arn: &str, layout: &Layout, below: &str, seen: &Seen) -> Vec<Finding> {
    let finding = |weight, found: String, remedy: String| Finding {
        weight,
        resource: arn.to_owned(),
        action: ACTION.to_owned(),
        found,
        remedy,
    };
    let refusal = |found: String, remedy: &str| vec![finding(Weight::Refusal, found, remedy.to_owned())];
    let (enabled, origins) = match seen {
        Seen::There { enabled, origins } => (*enabled, origins),
        Seen::Nowhere => return refusal("there is no such distribution".into(), "mend its id"),
        Seen::Denied => {
            let found = "could not be read whether it shows the bucket".to_owned();
            return vec![finding(Weight::Advice, found, format!("allow {ACTION} on it, or look yourself"))];
        }
    };
    let mut findings = Vec::new();
    if !enabled {
        findings.extend(refusal("the distribution is disabled".into(), "enable it"));
    }
    let ours: Vec<&Origin> = origins.iter().filter(|origin| origin.is_of(&layout.bucket)).collect();
    let fits = |origin: &&&Origin| {
        layout
            .prefix
            .strip_prefix(&origin.folder())
            .is_some_and(|rest| rest.trim_matches('/') == below.trim_matches('/'))
    };
    match ours.iter().find(fits) {
        Some(origin) if layout.state.starts_with(&origin.folder()) => {
            let found = format!("viewers can ask for the site's state, `{}`", layout.state);
            let remedy = "give the site a prefix, and the origin this prefix as its path";
            findings.push(finding(Weight::Advice, found, remedy.to_owned()));
        }
        Some(_) => {}
        None if ours.is_empty() => {
            let domains: Vec<&str> = origins.iter().map(|origin| origin.domain.as_str()).collect();
            let found = format!("no origin is the bucket `{}`; there are: {}", layout.bucket, domains.join(", "));
            findings.extend(refusal(found, "mend the distribution's id, or add the bucket as an origin"));
        }
        None => {
            let paths: Vec<String> = ours.iter().map(|origin| format!("`{}`", origin.path)).collect();
            let found = format!(
                "the origin's path is {}, which does not show the prefix `{}` at `{below}/`",
                paths.join(", "),
                layout.prefix
            );
            let remedy = format!(
                "set it to `/{}`, or say by `seen_below` where viewers see it",
                layout.prefix.trim_end_matches('/')
            );
            findings.push(finding(Weight::Refusal, found, remedy));
        }
    }
    findings
}

impl Distribution {
    pub(super) async fn judged(&self, within: Within<'_>, layout: &Layout) -> Result<Vec<Finding>> {
        Ok(judge(&self.arn(), layout, &self.below, &self.seen(within).await?))
    }

    async fn seen(&self, within: Within<'_>) -> Result<Seen> {
        let call = self.account().reads(within, ACTION, self.arn());
        let answer = match call.send(self.client.get_distribution().id(&self.id).send()).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Seen::Nowhere),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(Seen::Denied),
            Err(error) => return Err(error),
        };
        let Some(config) = answer.distribution.and_then(|found| found.distribution_config) else {
            return Ok(Seen::Nowhere);
        };
        let origins = config.origins.map(|origins| origins.items).unwrap_or_default().into_iter();
        let origins =
            origins.map(|origin| Origin { domain: origin.domain_name, path: origin.origin_path.unwrap_or_default() });
        Ok(Seen::There { enabled: config.enabled, origins: origins.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(prefix: &str) -> Layout {
        Layout {
            bucket: "web".into(),
            arn: "arn:aws:s3:::web".into(),
            region: "eu-central-1".into(),
            prefix: prefix.into(),
            state: ".ecolaura-deploy/web/".into(),
        }
    }

    fn there(domain: &str, path: &str) -> Seen {
        let other = Origin { domain: "api.example".into(), path: String::new() };
        Seen::There { enabled: true, origins: vec![other, Origin { domain: domain.into(), path: path.into() }] }
    }

    fn found(prefix: &str, below: &str, seen: &Seen) -> Vec<(Weight, String)> {
        let findings = judge("arn:aws:cloudfront::*:distribution/E1", &layout(prefix), below, seen);
        findings.into_iter().map(|finding| (finding.weight, finding.to_string())).collect()
    }

    #[test]
    fn an_origin_that_shows_the_prefix_where_viewers_look_is_right() {
        for domain in
            ["web.s3.amazonaws.com", "web.s3.eu-central-1.amazonaws.com", "web.s3-website.eu-central-1.amazonaws.com"]
        {
            assert_eq!(found("site/", "", &there(domain, "/site")), [], "{domain}");
        }
        assert_eq!(found("site/docs/", "/docs", &there("web.s3.amazonaws.com", "/site")), []);
    }

    #[test]
    fn another_bucket_or_path_is_refused_and_named() {
        let wrong = found("site/", "", &there("web-old.s3.amazonaws.com", "/site"));
        assert!(wrong[0].0 == Weight::Refusal && wrong[0].1.contains("web-old.s3.amazonaws.com"), "{wrong:?}");
        for (prefix, path) in [("site/", "/old"), ("site/docs/", "/site"), ("", "/site")] {
            let wrong = found(prefix, "", &there("web.s3.amazonaws.com", path));
            assert!(wrong[0].0 == Weight::Refusal && wrong[0].1.contains(path), "{wrong:?}");
        }
        let off = Seen::There { enabled: false, origins: Vec::new() };
        assert_eq!(found("site/", "", &off).len(), 2, "disabled, and no origin");
        assert!(found("site/", "", &Seen::Nowhere)[0].1.contains("E1"));
    }

    #[test]
    fn a_state_that_viewers_can_ask_for_and_what_cannot_be_read_are_advice() {
        let served = found("", "", &there("web.s3.amazonaws.com", ""));
        assert!(served[0].0 == Weight::Advice && served[0].1.contains(".ecolaura-deploy/web/"), "{served:?}");
        let denied = found("site/", "", &Seen::Denied);
        assert!(denied[0].0 == Weight::Advice && denied[0].1.contains(ACTION), "{denied:?}");
    }
}
