//! Built-in controllers and the scheduler
#![forbid(unsafe_code)]
