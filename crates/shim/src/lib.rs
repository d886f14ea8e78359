//! One machine's parent process
#![forbid(unsafe_code)]
