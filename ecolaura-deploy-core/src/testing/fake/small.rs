//! Fakes of the smaller traits.
