//! Inventory, joining of hosts, DRS runner
#![forbid(unsafe_code)]
