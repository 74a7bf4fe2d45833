//! How long a call may take that sends a file, or makes S3 move one. All others have the account's patience.

use std::time::Duration;

use aws_sdk_s3::config::{Builder, Config};
use aws_smithy_types::timeout::TimeoutConfig;

use crate::account::PATIENCE;

/// How long S3 may take to put the parts of a file together; AWS speaks of several minutes.
pub(super) const JOINING: Duration = Duration::from_mins(15);
/// The slowest line that is waited for, in bytes a second, and what all files on their way may have in memory together.
const SLOWEST_LINE: u64 = 32 * 1024;
const ON_THEIR_WAY: u64 = 32 * 1024 * 1024;
/// The slowest copy within S3 that is waited for, in bytes a second.
const SLOWEST_COPY: u64 = 8 * 1024 * 1024;

/// How long sending `bytes` may take, while others share the line. That a line stands still is noticed earlier, by the SDK.
pub(super) fn sending(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes.max(ON_THEIR_WAY) / SLOWEST_LINE)
}

/// How long S3 may take to copy `bytes`: it answers when that is done.
pub(super) fn copying(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes / SLOWEST_COPY)
}

/// The configuration of a call that may take that long.
pub(super) fn patient(patience: Duration) -> Builder {
    Config::builder().timeout_config(TimeoutConfig::builder().operation_attempt_timeout(patience).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_on_a_slow_line_have_time_for_all_that_is_on_its_way_and_large_ones_for_themselves() {
        assert_eq!(sending(1), sending(ON_THEIR_WAY));
        assert!(sending(1) > Duration::from_mins(15));
        assert!(sending(8 * ON_THEIR_WAY) > Duration::from_hours(2));
    }

    #[test]
    fn copies_of_pages_are_not_waited_for_longer_than_other_calls_and_those_of_gigabytes_are() {
        assert_eq!(copying(100_000), PATIENCE);
        assert!(copying(5 * 1024 * 1024 * 1024) > Duration::from_mins(10));
    }
}
