//! Metrics read from the services' own `/metrics`.
