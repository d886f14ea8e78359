//! kube-rs set-up: clients from credentials, in-process clients, projected caches
#![forbid(unsafe_code)]
