//! A site in a directory.
