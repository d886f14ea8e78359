//! The kubelet role: pods onto machines
#![forbid(unsafe_code)]
