//! Who may do what, on a real API server: tokens, the least rules, and pod security.

mod accounts;
mod pods;
