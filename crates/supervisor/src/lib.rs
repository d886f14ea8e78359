//! Enablement, control plane, zones, namespaces
#![forbid(unsafe_code)]
