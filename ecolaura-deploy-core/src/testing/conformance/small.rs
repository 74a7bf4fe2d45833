//! The suites of the smaller traits.
