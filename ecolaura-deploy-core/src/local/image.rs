//! Images assembled from files, without a daemon.
