//! What a role has to be allowed.

use super::S3Cdn;
use crate::access::Grant;

/// What takes objects in, in parts too, and looks at them and takes them away.
const STORING: [&str; 4] = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"];

impl S3Cdn {
    /// What publishing takes where everything is sent to the state, and copied from there to where it is served.
    #[cfg(feature = "key-value-store")]
    pub(super) fn copying(&self) -> [Grant; 3] {
        [
            Grant::new(STORING, [self.bucket.arn(&format!("{}*", self.state))]),
            Grant::new(["s3:DeleteObject", "s3:PutObject"], [self.bucket.arn(&format!("{}*", self.prefix))]),
            Grant::new(["s3:ListBucket"], [self.bucket.arn("")]),
        ]
    }

    /// What publishing, taking back and pruning need.
    pub fn publishing(&self) -> Vec<Grant> {
        let objects = [&self.prefix, &self.state].map(|prefix| self.bucket.arn(&format!("{prefix}*")));
        let mut grants = vec![Grant::new(STORING, objects), Grant::new(["s3:ListBucket"], [self.bucket.arn("")])];
        #[cfg(feature = "cloudfront")]
        if let Some(before) = &self.distribution {
            let actions = ["cloudfront:CreateInvalidation", "cloudfront:GetInvalidation"];
            grants.push(Grant::new(actions, [before.arn()]));
        }
        grants.shrink_to_fit();
        grants
    }

    /// What [`S3Cdn::check`] needs beside that.
    pub fn checking(&self) -> Vec<Grant> {
        let actions = ["s3:GetBucketPublicAccessBlock", "s3:GetBucketVersioning", "s3:GetLifecycleConfiguration"];
        let mut grants = vec![Grant::new(actions, [self.bucket.arn("")])];
        #[cfg(feature = "cloudfront")]
        if let Some(before) = &self.distribution {
            grants.push(Grant::new(["cloudfront:GetDistribution"], [before.arn()]));
        }
        grants.shrink_to_fit();
        grants
    }

    /// What looking after leftovers needs beside [`S3Cdn::publishing`].
    pub fn cleaning(&self) -> Vec<Grant> {
        vec![Grant::new(["s3:ListBucketMultipartUploads"], [self.bucket.arn("")])]
    }
}
