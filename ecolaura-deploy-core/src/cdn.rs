//! The publish protocol, the same for every CDN: assets, barrier, pages, invalidation, pruning later.
