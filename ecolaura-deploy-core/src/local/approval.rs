//! Approvers: a fixed answer, a prompt, a callback.
