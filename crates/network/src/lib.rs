//! Bridges, taps and routes of a host
#![forbid(unsafe_code)]
