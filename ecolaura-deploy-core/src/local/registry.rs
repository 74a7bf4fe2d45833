//! A registry that is an OCI image layout on disk.
