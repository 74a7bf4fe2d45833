//! AWS backends of [`ecolaura_deploy_core`]: ECR as a registry, S3 and `CloudFront` as a publisher, Secrets Manager, RDS
//! snapshots, tokens for EKS, and a run store on S3.
//!
//! The crate has its place in the graph and no backend yet. It depends on the core crate and the AWS SDK, never on
//! Kubernetes.
