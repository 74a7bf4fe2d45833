//! Feature flags in a file of flagd's form.
