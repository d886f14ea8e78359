//! Kubernetes filters and DRS placement; pure and deterministic
#![forbid(unsafe_code)]
