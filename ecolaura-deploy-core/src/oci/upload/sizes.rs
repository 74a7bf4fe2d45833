//! How much of a blob a registry takes in one request.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use reqwest::StatusCode;

/// The largest pieces that are tried where whole blobs are refused, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;
/// The smallest ones: what proxies take that nobody has set up.
const SMALLEST: u64 = 1024 * 1024;
const WHOLE: u64 = 0;

/// What is known of it. Learned once, it holds for all further blobs.
#[derive(Debug, Default)]
pub(in crate::oci) struct Sizes {
    /// Of pieces, or [`WHOLE`].
    pieces: AtomicU64,
    /// Also smaller blobs go in pieces.
    never_whole: AtomicBool,
}

impl Sizes {
    /// Pieces of `size` to begin with.
    pub(in crate::oci) fn set(&mut self, size: NonZeroU64) {
        *self.pieces.get_mut() = size.get();
    }

    /// The size of pieces for a blob of `whole` bytes where a registry wants at least `least`; `None` for one request.
    pub(super) fn of(&self, whole: u64, least: u64) -> Option<u64> {
        let size = Some(self.pieces.load(Ordering::Relaxed)).filter(|size| *size != WHOLE)?.max(least);
        (whole > size || self.never_whole.load(Ordering::Relaxed)).then_some(size)
    }

    /// Learns that `bytes` in one request were refused with `status`. `false` if there is nothing smaller to try where
    /// the registry wants at least `least`.
    pub(super) fn lower(&self, (bytes, least): (u64, u64), status: StatusCode) -> bool {
        let smaller = match status {
            StatusCode::PAYLOAD_TOO_LARGE => (bytes / 4).clamp(SMALLEST, LARGEST),
            _ => LARGEST,
        };
        if status == StatusCode::PAYLOAD_TOO_LARGE && smaller.max(least) >= bytes {
            return false;
        }
        if status != StatusCode::PAYLOAD_TOO_LARGE {
            self.never_whole.store(true, Ordering::Relaxed);
        }
        let lower = |known| Some(if known == WHOLE { smaller } else { smaller.min(known) });
        _ = self.pieces.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
        true
    }
}

/// Whether a whole blob was refused because it was one.
pub(super) fn is_about_size(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::NOT_IMPLEMENTED
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn pieces_become_smaller_until_nothing_is_left_to_try() {
        let sizes = Sizes::default();
        assert_eq!(sizes.of(1000 * MIB, 0), None);
        assert!(sizes.lower((1000 * MIB, 0), StatusCode::PAYLOAD_TOO_LARGE));
        assert_eq!((sizes.of(1000 * MIB, 0), sizes.of(16 * MIB, 0)), (Some(16 * MIB), None));
        // Two that were under way at once.
        assert!(
            sizes.lower((16 * MIB, 0), StatusCode::PAYLOAD_TOO_LARGE)
                && sizes.lower((16 * MIB, 0), StatusCode::PAYLOAD_TOO_LARGE)
        );
        assert_eq!((sizes.of(1000 * MIB, 0), sizes.of(1000 * MIB, 5 * MIB)), (Some(4 * MIB), Some(5 * MIB)));
        assert!(
            sizes.lower((4 * MIB, 0), StatusCode::PAYLOAD_TOO_LARGE)
                && !sizes.lower((MIB, 0), StatusCode::PAYLOAD_TOO_LARGE)
        );
    }

    #[test]
    fn where_whole_blobs_are_refused_small_ones_go_in_pieces_too() {
        let sizes = Sizes::default();
        assert!(sizes.lower((3, 0), StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(sizes.of(3, 0), Some(16 * MIB));
    }
}
