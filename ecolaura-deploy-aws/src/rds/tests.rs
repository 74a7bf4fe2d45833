//! What is asked of RDS, and when: by a small RDS that takes its time as the real one does.

mod granted;
mod killed;
mod restoring;
mod retaining;
mod snapshots;
mod waiting;
mod world;
