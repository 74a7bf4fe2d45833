//! The codes of AWS's services, as kinds.

use ecolaura_deploy_core::ErrorKind;

/// The kind of a refusal. What has no known code goes by its status, and what has neither is a service that broke down.
pub(super) fn kind(code: Option<&str>, status: Option<u16>) -> ErrorKind {
    code.and_then(by_code).unwrap_or_else(|| by_status(status.unwrap_or_default()))
}

/// Whether the credentials were good once.
pub(crate) fn is_expired(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired")
}

/// Whether S3 has the bucket elsewhere.
pub(super) fn is_region(code: &str) -> bool {
    matches!(
        code,
        "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
    )
}

fn by_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "AuthorizationError"
        | "NotAuthorized"
        | "UnauthorizedException"
        | "KMSAccessDeniedException"
        | "AllAccessDisabled"
        | "OptInRequired" => ErrorKind::PermissionDenied,
        _ if is_expired(code) => ErrorKind::Unauthenticated,
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "AuthFailure"
        | "InvalidToken"
        | "RequestTimeTooSkewed" => ErrorKind::Unauthenticated,
        _ if is_region(code) => ErrorKind::InvalidInput,
        "SlowDown"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete"
        | "TransactionInProgressException"
        | "EC2ThrottledException" => ErrorKind::RateLimited,
        _ if code.contains("Throttl") || code == "ProvisionedThroughputExceededException" => ErrorKind::RateLimited,
        "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServiceError"
        | "InternalServerException"
        | "ServerException"
        | "RequestTimeout"
        | "RequestTimeoutException" => ErrorKind::Unavailable,
        "PreconditionFailed"
        | "ConditionalRequestConflict"
        | "OperationAborted"
        | "ConflictException"
        | "ResourceInUseException"
        | "InvalidIfMatchVersion"
        | "DistributionNotDisabled" => ErrorKind::Conflict,
        "ResourceExistsException" | "BucketAlreadyOwnedByYou" => ErrorKind::AlreadyExists,
        _ => return by_part(code),
    })
}

/// The services agree on the endings of their names, more or less.
fn by_part(code: &str) -> Option<ErrorKind> {
    let name = code.strip_suffix("Exception").or_else(|| code.strip_suffix("Fault")).unwrap_or(code);
    let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    Some(if name.contains("AlreadyExist") {
        ErrorKind::AlreadyExists
    } else if name.ends_with("NotFound") || begins(&["NoSuch"]) {
        ErrorKind::NotFound
    } else if name.contains("LimitExceeded") || name.contains("QuotaExceeded") || begins(&["TooMany"]) {
        ErrorKind::LimitExceeded
    } else if name.contains("Unsupported") {
        ErrorKind::Unsupported
    } else if begins(&["Invalid"]) && name.ends_with("State") {
        // Of something that is not as the call needs it, now.
        ErrorKind::Conflict
    } else if begins(&["Validation", "Invalid", "Malformed", "Missing", "EntityTooLarge", "EntityTooSmall"]) {
        ErrorKind::InvalidInput
    } else {
        return None;
    })
}

fn by_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::PermissionDenied,
        404 | 410 => ErrorKind::NotFound,
        408 => ErrorKind::Unavailable,
        409 | 412 => ErrorKind::Conflict,
        429 => ErrorKind::RateLimited,
        501 => ErrorKind::Unsupported,
        300..=499 => ErrorKind::InvalidInput,
        _ => ErrorKind::Unavailable,
    }
}
