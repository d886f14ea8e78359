//! The machines of a host: admission, ledger, adoption
#![forbid(unsafe_code)]
