//! Benchmarks of ecolaura-deploy.
