//! Signatures of contents whose digest is known.

use aws_runtime::auth::PayloadSigningOverride;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextMut, dyn_dispatch_hint},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

/// Signs with this SHA-256 of the body, in hexadecimal digits, instead of working it out again. S3 compares it with what
/// arrives: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
#[derive(Debug)]
pub(super) struct Digested(pub(super) String);

#[dyn_dispatch_hint]
impl Intercept for Digested {
    fn name(&self) -> &'static str {
        "Digested"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.clone()));
        Ok(())
    }
}
