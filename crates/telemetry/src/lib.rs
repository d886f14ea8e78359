//! Logs and metrics, set up once
#![forbid(unsafe_code)]
